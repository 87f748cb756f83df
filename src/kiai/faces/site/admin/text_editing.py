"""The fields and the preview that the editors of news and of pages share."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from kiai.documents import BYTES_MAX, TITLE_MAX
from kiai.faces.site.admin.acts import Field, ShownForms
from kiai.faces.site.markdown import render_markdown

FORM_BYTES: Final = 4 * BYTES_MAX
"""The largest form: a browser may send three bytes for each byte of the text."""
TITLE: Final = Field("title", "Title", most=TITLE_MAX)
TEXT: Final = Field(
    "text",
    "Text",
    "textarea",
    most=BYTES_MAX,
    long=True,
    help="Markdown: CommonMark with tables and strikethrough. HTML is shown as text.",
)


async def previewed(forms: ShownForms) -> Mapping[str, Any] | None:
    """Return the title and the rendered text of a preview, or None without one."""
    if forms.preview is None:
        return None
    text = await asyncio.to_thread(render_markdown, forms.preview.get("text", "")[:BYTES_MAX])
    return {"title": forms.preview.get("title", ""), "text": text}
