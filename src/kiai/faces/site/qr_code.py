"""QR codes as inline SVG, for the setup of an authenticator."""

from markupsafe import Markup


def qr_code(text: str) -> Markup:
    """Return a QR code of a text. It is dark on white in every theme, because cameras expect that."""
    import segno

    code = segno.make(text, error="m", micro=False)
    # segno escapes what it writes; the text itself is only in the modules of the code.
    return Markup(code.svg_inline(scale=5, border=4, dark="#000", light="#fff", svgclass="qr", lineclass=None))  # noqa: S704
