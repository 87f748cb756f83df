"""The pages of requests that failed before their answer: a bug of the server, or its stop. They need no store."""

from typing import Final, Literal

from kiai.faces.asgi import Scope
from kiai.faces.site.locale import choose_language, locale_of
from kiai.faces.site.page import HTML, Head, Visitor
from kiai.faces.site.templating import Templates

HEADERS: Final = (
    (b"content-type", HTML.encode()),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; font-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"vary", b"Accept, Accept-Language"),
)
RETRY_AFTER_S: Final = 10


class FailurePages:
    """Renders the pages of status 500 and 503 that the front sends."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates

    def blocked(self, scope: Scope) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Return headers and body of the answer to a blocked address."""
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
        return headers, b"Your address is blocked on this server.\n"

    def page(self, scope: Scope, status: Literal[500, 503]) -> tuple[list[tuple[bytes, bytes]], bytes] | None:
        """Return headers and body for a browser, or None for a client that did not ask for HTML."""
        headers = dict(scope["headers"])
        if b"text/html" not in headers.get(b"accept", b""):
            return None
        language = choose_language(
            parameter="", cookie="", header=headers.get(b"accept-language", b"").decode("latin-1")
        )
        locale = locale_of(language)
        if status == 500:
            title = locale.text("Something went wrong")
            sentence = locale.text(
                "The server has a fault. Tell the operator this number: %(number)s", number=scope["kiai.request_id"]
            )
        else:
            title = locale.text("Maintenance")
            sentence = locale.text("The server restarts. Try again in a moment.")
        values = {
            "title": title,
            "sentence": sentence,
            "head": Head(title),
            "visitor": Visitor(),
            "theme": "",
            "here": "/",
            "now_ms": 0,
            "status": status,
            "form": None,
        }
        body = self._templates.render("error.html", locale, values).encode()
        sent = [*HEADERS, (b"content-length", str(len(body)).encode())]
        if status == 503:
            sent.append((b"retry-after", str(RETRY_AFTER_S).encode()))
        return sent, body
