"""Addresses in responses: links to further pages, and pictures.

An address has the host of the request, so that it works under every name and port of the server. Behind a trusted
proxy it has the scheme and host in the proxy's X-Forwarded headers; these headers are ignored from all other senders.
If the proxy sends no scheme, https is assumed, because proxies in front of kiai usually terminate TLS.
"""

import re
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

Scope = dict[str, Any]

# A host name with an optional port, or an IPv6 address in brackets. Everything else could inject text into a link.
_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PATH_SAFE: Final = "/!$&'()*+,;=:@-._~%"


def origin(scope: Scope) -> str:
    """Return `scheme://host` of this server from the client's view, or "" if the request has no valid host."""
    proxied = "kiai.proxied" in scope
    scheme, host = "https" if proxied else scope.get("scheme", "http"), b""
    named: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name == b"host":
            host = value
        elif proxied and name in (b"x-forwarded-proto", b"x-forwarded-host"):
            named.setdefault(name, value)
    # Each proxy in a chain appends its value; the first one is from the proxy next to the client.
    first = {name: value.partition(b",")[0].strip().decode("latin-1") for name, value in named.items()}
    if first.get(b"x-forwarded-proto", "").lower() in ("http", "https"):
        scheme = first[b"x-forwarded-proto"].lower()
    authority = first.get(b"x-forwarded-host", "")
    if not _HOST.fullmatch(authority):
        authority = host.decode("latin-1")
    return f"{scheme}://{authority}" if _HOST.fullmatch(authority) else ""


def pictures(scope: Scope) -> str:
    """Return the origin of map pictures: `assets.<domain>` for a request to `api.<domain>`, else the request's host."""
    requested = origin(scope)
    scheme, _, authority = requested.partition("://")
    label, dot, domain = authority.partition(".")
    return f"{scheme}://assets.{domain}" if dot and label.lower() == "api" else requested


def with_parameters(scope: Scope, query: str, changes: dict[str, int | None]) -> str:
    """Return the address of the request with changed parameters. A parameter whose new value is None is removed."""
    pairs = [
        pair
        for pair in parse_qsl(query, keep_blank_values=True, encoding="utf-8", errors="replace")
        if pair[0] not in changes
    ]
    pairs += [(name, str(value)) for name, value in changes.items() if value is not None]
    # `path` of the ASGI scope is decoded, so %2F in a name would become a separator.
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    path = quote(raw.partition(b"?")[0].decode("latin-1"), safe=_PATH_SAFE)
    return f"{origin(scope)}{path}?{urlencode(pairs)}"
