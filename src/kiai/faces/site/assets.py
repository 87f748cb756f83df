"""Static files of the website, under names that contain a hash of their content.

A browser keeps such a file forever, and a changed file has another name. `/static/site.3f2a9c1b.css`

`site.css` is the concatenation of the files in `css/`. References from one file to another, `import "./x.js"` and
`url(../x.woff2)`, are replaced by the paths with the hashes, so a change of a file also changes the names of the files
that refer to it.
"""

import functools
import hashlib
import mimetypes
import posixpath
import re
from collections.abc import Mapping
from importlib import resources
from typing import Final

import msgspec

HASH_DIGITS: Final = 8
FLAGS: Final = "vendor/flags/"
IMMUTABLE: Final = "public, max-age=31536000, immutable"
_TYPES: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".woff2": "font/woff2"}
_REFERENCES: Final[Mapping[str, re.Pattern[str]]] = {
    ".js": re.compile(r"""(?P<before>(?:\bfrom|\bimport)\s*\(?\s*["'])(?P<to>\.{1,2}/[^"']+)(?=["'])"""),
    ".css": re.compile(r"(?P<before>url\()(?P<to>\.{1,2}/[^)]+)(?=\))"),
}
_NOT_SERVED: Final = (".d.ts", "checksums.txt")
_STYLES: Final = "css/"
_STYLESHEET: Final = "site.css"


class Asset(msgspec.Struct, frozen=True):
    """A static file. `path` is its path on the site, with the hash."""

    name: str
    path: str
    content: bytes
    content_type: str
    etag: str


class Assets:
    """The static files of the package by name. They are read when the first page needs them."""

    @functools.cached_property
    def _by_name(self) -> Mapping[str, Asset]:
        return named_by_hash(_package_files())

    @functools.cached_property
    def _by_path(self) -> Mapping[str, Asset]:
        return {asset.path: asset for asset in self._by_name.values()}

    def path(self, name: str) -> str:
        """Return the path of a file, e.g. of `site.css`. Raises KeyError for a name that does not exist."""
        return self._by_name[name].path

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        return name in self._by_name

    def names(self) -> list[str]:
        """Return the names of all files."""
        return list(self._by_name)

    def find(self, path: str) -> Asset | None:
        """Return the file at a path of the site."""
        return self._by_path.get(path)


def named_by_hash(files: Mapping[str, bytes]) -> dict[str, Asset]:
    """Return the assets of files, by name.

    Raises KeyError for a reference to a file that does not exist, and RecursionError for files that refer to each other
    in a circle.
    """
    found: dict[str, Asset] = {}
    styles = sorted(name for name in files if name.startswith(_STYLES))

    def asset(name: str) -> Asset:
        if name not in found:
            content = b"\n".join(linked(style) for style in styles) if name == _STYLESHEET else linked(name)
            found[name] = _asset(name, content)
        return found[name]

    def linked(name: str) -> bytes:
        """Return the content of a file with the paths of the files that it refers to."""
        pattern = _REFERENCES.get(posixpath.splitext(name)[1])
        if pattern is None:
            return files[name]
        folder = posixpath.dirname(name)
        text = files[name].decode()
        return pattern.sub(
            lambda at: at["before"] + asset(posixpath.normpath(f"{folder}/{at['to']}")).path, text
        ).encode()

    for name in [_STYLESHEET, *files]:
        if name not in styles:
            asset(name)
    return found


def _package_files() -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    folders = [("", resources.files("kiai.faces.site").joinpath("static"))]
    while folders:
        prefix, folder = folders.pop()
        for entry in folder.iterdir():
            if entry.is_dir():
                folders.append((f"{prefix}{entry.name}/", entry))
            elif not entry.name.endswith(_NOT_SERVED):
                files[f"{prefix}{entry.name}"] = entry.read_bytes()
    return files


def _asset(name: str, content: bytes) -> Asset:
    # Tables have a flag in each row, so its path is short.
    stem, dot, suffix = name.removeprefix(FLAGS).rpartition(".")
    digest = hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
    kind = _TYPES.get(f".{suffix}") or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Asset(name, f"/static/{stem}.{digest}{dot}{suffix}", content, kind, f'"{digest}"')
