"""Files of the panel for spreadsheets: their limits and their headers."""

from typing import Final

from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.page import Content

EXPORTED_MAX: Final = 10_000
READ_AT_ONCE: Final = 500
EXPORTS: Final = RateLimit("admin-exports", 10, 60.0)
"""The limit of an account for exports, which read up to `EXPORTED_MAX` rows."""


def csv_file(name: str, text: str) -> Content:
    """Return a CSV file with a head, as a download that no cache keeps."""
    headers = (("Content-Disposition", f'attachment; filename="{name}"'), ("Cache-Control", "private, no-store"))
    return Content(text.encode(), "text/csv; charset=utf-8; header=present", headers=headers)
