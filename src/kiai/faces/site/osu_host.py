"""The host `osu.DOMAIN`, which the game opens: its pages are those of the bare domain."""

from typing import Final
from urllib.parse import quote

from kiai.faces.asgi import App, Receive, Scope, Send

LABEL: Final = "osu."


def redirecting_osu_host(app: App, domain: str, site_url: str) -> App:
    """Return the site with redirects from pages of `osu.` and the domain to `site_url` and the same path."""
    host = f"{LABEL}{domain}".encode()

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET" or not any(
            name == b"host" and value.lower().partition(b":")[0] == host for name, value in scope["headers"]
        ):
            await app(scope, receive, send)
            return
        scope["kiai.route"] = "osu host"  # one label in the metrics for all pages
        path = "/" + quote(scope["path"].lstrip("/"))
        query = scope["query_string"].decode("latin-1")
        target = f"{site_url}{path}" + (f"?{query}" if query else "")
        headers = [(b"location", target.encode("latin-1", "replace")), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 302, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return serve
