"""The operator's texts: pages, news and incidents as Markdown files in the data folder, and texts that staff writes.

    DATA/pages/{rules,privacy,about}.md       one text each; without the file, a default text
    DATA/news/YYYY-MM-DD-slug.md              shown from that day on (UTC)
    DATA/incidents/YYYY-MM-DD-slug.md         what went wrong, for the status page

`stored.py` has pages and news of the admin panel, in the database. A stored text hides a file with the same name: a
page the file of that page, news the file with the same day and slug. See docs/decisions/014-texts-in-two-places.md.

The first line that begins with `# ` is the title. A folder is looked at again when a text is asked for and the last
look is older than `LOOK_EVERY_S`; only changed files are read. So a change needs no restart.
"""

from kiai.documents.service import BYTES_MAX, PAGES, SLUG, SLUG_MAX, TITLE_MAX, Document, Documents

__all__ = ["BYTES_MAX", "PAGES", "SLUG", "SLUG_MAX", "TITLE_MAX", "Document", "Documents"]
