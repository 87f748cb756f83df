"""Answers to challenges of http-01: they follow from the token and the key of the account."""

import base64
import hashlib
from typing import Final

import msgspec

from kiai.tls.folder import TOKEN

_OF_THUMBPRINT: Final = ("crv", "kty", "x", "y")
"""The members of an elliptic key in its thumbprint, sorted (RFC 7638)."""


class _Account(msgspec.Struct):
    key: dict[str, str]


def answer_of(account: bytes, token: str) -> bytes | None:
    """Return the answer of the account, the content of `account.json`, to a challenge with this token (RFC 8555, 8.1).

    Return None for a text that is not a token, or an account that is not readable.
    """
    try:
        key = msgspec.json.decode(account, type=_Account).key
        members = {name: key[name] for name in _OF_THUMBPRINT}
    except (msgspec.DecodeError, KeyError):
        return None
    if not TOKEN.fullmatch(token):
        return None
    digest = hashlib.sha256(msgspec.json.encode(members)).digest()
    return b"%b.%b" % (token.encode(), base64.urlsafe_b64encode(digest).rstrip(b"="))
