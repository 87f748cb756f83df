"""The headings of a page, as links name them."""

import re
from pathlib import Path


def anchors(page: Path) -> set[str]:
    """What stands behind the `#` in links to the headings of a Markdown page."""
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text("utf-8"))
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
