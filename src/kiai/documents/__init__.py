"""The operator's texts: pages, news and incidents as Markdown files in the data folder.

    DATA/pages/{rules,privacy,about}.md       one text each; without the file, a default text
    DATA/news/YYYY-MM-DD-slug.md              shown from that day on (UTC)
    DATA/incidents/YYYY-MM-DD-slug.md         what went wrong, for the status page

The first line that begins with `# ` is the title. A folder is looked at again when a text is asked for and the last
look is older than `LOOK_EVERY_S`; only changed files are read. So a change needs no restart.
"""

from kiai.documents.service import PAGES, Document, Documents

__all__ = ["PAGES", "Document", "Documents"]
