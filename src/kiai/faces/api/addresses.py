"""Addresses of this server as the client that asks can reach it: links to further pages, pictures.

The host is the one that the client wrote, so that a link is right under every name and port the server has. Behind a
trusted proxy the scheme and the host are those that the proxy names; from anybody else these headers mean nothing. A
proxy that names no scheme is taken for one that ends TLS, which is what proxies in front of this server are for.
"""

import re
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

Scope = dict[str, Any]

_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PATH_SAFE: Final = "/!$&'()*+,;=:@-._~%"


def origin(scope: Scope) -> str:
    """`scheme://host` as the client knows this server; empty when it sent no usable host."""
    proxied = "kiai.proxied" in scope
    scheme, host = "https" if proxied else scope.get("scheme", "http"), b""
    named: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name == b"host":
            host = value
        elif proxied and name in (b"x-forwarded-proto", b"x-forwarded-host"):
            named.setdefault(name, value)
    first = {name: value.partition(b",")[0].strip().decode("latin-1") for name, value in named.items()}
    if first.get(b"x-forwarded-proto", "").lower() in ("http", "https"):
        scheme = first[b"x-forwarded-proto"].lower()
    authority = first.get(b"x-forwarded-host", "")
    if not _HOST.fullmatch(authority):
        authority = host.decode("latin-1")
    return f"{scheme}://{authority}" if _HOST.fullmatch(authority) else ""


def pictures(scope: Scope) -> str:
    """Where pictures of maps are: the host `assets.` beside the API's own, else the host that was asked."""
    found = origin(scope)
    scheme, _, authority = found.partition("://")
    label, dot, domain = authority.partition(".")
    return f"{scheme}://assets.{domain}" if dot and label.lower() == "api" else found


def with_parameters(scope: Scope, query: str, changes: dict[str, int | None]) -> str:
    """The address of the request with other parameters; those whose value is None are left out."""
    kept = [
        pair
        for pair in parse_qsl(query, keep_blank_values=True, encoding="utf-8", errors="replace")
        if pair[0] not in changes
    ]
    kept += [(name, str(value)) for name, value in changes.items() if value is not None]
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    path = quote(raw.partition(b"?")[0].decode("latin-1"), safe=_PATH_SAFE)
    return f"{origin(scope)}{path}?{urlencode(kept)}"
