"""Which addresses the markup accepts. Every other address is shown as the text that the player typed."""

import re
from typing import Final
from urllib.parse import urlsplit

URL_MAX: Final = 2_000
HOST_MAX: Final = 253
# No control character, space, quote, backslash, bracket or angle bracket. Other scripts are allowed in paths.
_SAFE: Final = re.compile(r"[^\x00-\x20\x7f-\xa0\"'`\\<>\[\]{}|^\u2028\u2029\ufeff]+")
_HOST: Final = re.compile(r"[A-Za-z0-9\u00a1-\uffff](?:[A-Za-z0-9.\u00a1-\uffff-]*[A-Za-z0-9\u00a1-\uffff])?")
_PATH: Final = re.compile(r"/(?!/)[A-Za-z0-9/_.~%?=&#+:@-]*")
BARE: Final = re.compile(r"https?://[^\x00-\x20\x7f-\xa0\"'`\\<>\[\]{}|^]+", re.IGNORECASE)
"""A URL in running text, with the punctuation that may follow it; `without_punctuation` cuts that off."""


def is_web_url(text: str) -> bool:
    """Whether `text` is an absolute http or https URL with a host, without user info, of at most 2,000 characters."""
    if len(text) > URL_MAX or not _SAFE.fullmatch(text):
        return False
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port  # the port raises ValueError if it is not a number
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or not host:
        return False
    return len(host) <= HOST_MAX and ".." not in host and _HOST.fullmatch(host) is not None


def is_page_path(text: str) -> bool:
    """Whether `text` is a path of this website, e.g. `/users/3`."""
    return len(text) <= URL_MAX and _PATH.fullmatch(text) is not None and "/../" not in f"{text}/"


def host_of(url: str) -> str:
    """Return the host of a valid URL, in lower case."""
    return urlsplit(url).hostname or ""


def without_punctuation(url: str) -> str:
    """Return a bare URL without the punctuation of the sentence around it."""
    end = len(url)
    opened = url.count("(")
    closed = url.count(")")
    while end:
        last = url[end - 1]
        if last == ")" and closed > opened:
            closed -= 1
        elif last not in ".,;:!?*_~":
            break
        end -= 1
    return url[:end]
