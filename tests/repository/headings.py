"""The anchors of a Markdown page."""

import re
from pathlib import Path


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page: the part of a link after the `#`."""
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text("utf-8"))
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
