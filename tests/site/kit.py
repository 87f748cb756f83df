"""A browser without script for tests of the website: it follows links, fills in forms by label and keeps cookies."""

import re
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode
from tests import stores
from tests.wire.kit import Reply, Server

from kiai.accounts import web_sessions
from kiai.storage import tables

HOST: Final = "localhost"
BOUNDARY: Final = "kiai-test-boundary"
REDIRECTS_MAX: Final = 5


class File:
    """A file for a form."""

    def __init__(self, content: bytes, name: str = "file.png", kind: str = "image/png") -> None:
        self.content, self.name, self.kind = content, name, kind


class Browser:
    """Requests pages of one server as one visitor. `language` is the Accept-Language header."""

    def __init__(self, server: Server, *, host: str = HOST, language: str = "en") -> None:
        self.server = server
        self.host = host
        self.language = language
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}

    def get(self, path: str, *, follow: bool = True, headers: Mapping[str, str] | None = None) -> "PageReply":
        """Request a page, and follow redirects on the same host."""
        return self._follow(self.request("GET", path, headers=headers), path, follow)

    def post(
        self,
        path: str,
        fields: Mapping[str, "str | File"],
        *,
        follow: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> "PageReply":
        """Send a form, as multipart if it contains a file. Without a token: `Form.press` sends that of the page."""
        if any(isinstance(value, File) for value in fields.values()):
            body, kind = _multipart(fields), f"multipart/form-data; boundary={BOUNDARY}"
        else:
            body, kind = urlencode(fields).encode(), "application/x-www-form-urlencoded"
        given = {"Content-Type": kind, **(headers or {})}
        return self._follow(self.request("POST", path, headers=given, body=body), path, follow)

    def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Reply:
        """Send one request with the cookies, and store those of the answer."""
        sent = {"Accept": "text/html", "Accept-Language": self.language, **self.headers, **(headers or {})}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        reply = self.server.ask(method, path, host=self.host, headers=sent, body=body)
        for line in reply.headers.get("set-cookie", "").split("\n"):
            self._store(line)
        return reply

    def _store(self, line: str) -> None:
        pair, _, attributes = line.partition(";")
        name, _, value = pair.partition("=")
        if not name:
            return
        if "max-age=0" in attributes.lower():
            self.cookies.pop(name.strip(), None)
        else:
            self.cookies[name.strip()] = value

    def _follow(self, reply: Reply, path: str, follow: bool) -> "PageReply":
        for _ in range(REDIRECTS_MAX):
            target = reply.headers.get("location", "")
            if not follow or reply.status not in (301, 302, 303) or urlsplit(target).netloc:
                break
            path = urljoin(path, target)
            reply = self.request("GET", path)
        return PageReply(self, path, reply)


class PageReply:
    """An answer, read as a visitor reads it."""

    def __init__(self, browser: Browser, path: str, reply: Reply) -> None:
        self.browser = browser
        self.path = path
        self.status = reply.status
        self.headers = reply.headers
        self.body = reply.body
        self.html = LexborHTMLParser(reply.body.decode(errors="replace"))

    @property
    def location(self) -> str | None:
        """The target of a redirect that was not followed."""
        return self.headers.get("location")

    @property
    def title(self) -> str:
        """The title of the page."""
        return self.one("title").text(strip=True)

    @property
    def h1(self) -> str:
        """The text of the only `h1`."""
        found = self.css("h1")
        assert len(found) == 1, f"{self.path}: {len(found)} h1"
        return _words(found[0])

    @property
    def text(self) -> str:
        """The text of the body, with single spaces."""
        return _words(self.one("body"))

    @property
    def alert(self) -> str | None:
        """The text of the first element with the role `alert`."""
        found = self.css('[role="alert"]')
        return _words(found[0]) if found else None

    @property
    def message(self) -> str | None:
        """The text of the first element with the role `status`."""
        found = self.css('[role="status"]')
        return _words(found[0]) if found else None

    def css(self, selector: str) -> list[LexborNode]:
        """Return the elements that a CSS selector matches."""
        return self.html.css(selector)

    def one(self, selector: str) -> LexborNode:
        """Return the first element that a CSS selector matches. Fail if the page has none."""
        found = self.css(selector)
        assert found, f"{self.path} ({self.status}): no {selector}"
        return found[0]

    def stat(self, name: str) -> str | None:
        """Return the raw value of the first figure of this name, or None."""
        found = self.css(f'data[data-stat="{name}"]')
        return found[0].attributes.get("value") if found else None

    def stats(self, name: str) -> list[str]:
        """Return the raw values of all figures of this name."""
        return [node.attributes.get("value") or "" for node in self.css(f'data[data-stat="{name}"]')]

    def headings(self, level: int = 2) -> list[str]:
        """Return the texts of the headings of a level, and of table captions for level 2."""
        return [_words(node) for node in self.css(f"h{level}" + (", caption" if level == 2 else ""))]

    def link(self, text: str) -> str | None:
        """Return the address of the first link with this text or accessible name, or None."""
        for node in self.css("a"):
            if text in (_words(node), node.attributes.get("aria-label")):
                return node.attributes.get("href")
        return None

    def follow(self, text: str) -> "PageReply":
        """Follow the link with this text."""
        target = self.link(text)
        assert target is not None, f"{self.path}: no link {text!r}"
        return self.browser.get(urljoin(self.path, target))

    def form(self, name: str) -> "FormOnPage":
        """Return the form with this accessible name. Fail if the page has none."""
        for node in self.css("form"):
            if self._name_of(node) == name:
                return FormOnPage(self, node)
        raise AssertionError(
            f"{self.path} ({self.status}): no form {name!r} in {[self._name_of(f) for f in self.css('form')]}"
        )

    def button(self, text: str) -> "FormOnPage":
        """Return the form that has a button with this text. Fail if the page has none."""
        for node in self.css("form"):
            if any(_button_name(button) == text for button in node.css("button")):
                return FormOnPage(self, node, text)
        raise AssertionError(f"{self.path} ({self.status}): no button {text!r}")

    def _name_of(self, node: LexborNode) -> str:
        label = node.attributes.get("aria-label")
        if label:
            return label
        ids = (node.attributes.get("aria-labelledby") or "").split()
        return " ".join(_words(self.one(f'[id="{id_}"]')) for id_ in ids)


class FormOnPage:
    """A form with its values. `button` is the text of the button to press by default."""

    def __init__(self, page: PageReply, node: LexborNode, button: str | None = None) -> None:
        self.page = page
        self.node = node
        self._button = button
        self.values: dict[str, str | File] = {}
        for control in node.css("input, select, textarea"):
            self._add_default(control)

    def _add_default(self, control: LexborNode) -> None:
        attributes = control.attributes
        name, kind = attributes.get("name"), attributes.get("type") or "text"
        if not name or "disabled" in attributes or kind == "file":
            return
        if control.tag == "textarea":
            self.values[name] = control.text()
        elif control.tag == "select":
            options = control.css("option")
            chosen = [option for option in options if "selected" in option.attributes] or options[:1]
            if chosen:
                self.values[name] = chosen[0].attributes.get("value") or ""
        elif kind not in ("checkbox", "radio") or "checked" in attributes:
            self.values[name] = attributes.get("value") or ("on" if kind == "checkbox" else "")

    def fill(self, **by_label: "str | File") -> "FormOnPage":
        """Fill in controls by label, with `_` for spaces and hyphens of the label."""
        for label, value in by_label.items():
            self.set(label, value)
        return self

    def set(self, label: str, value: "str | File") -> "FormOnPage":
        """Fill in the control with this label."""
        wanted = _plain(label)
        for control in self.node.css("input, select, textarea"):
            name = control.attributes.get("name")
            if name and wanted in {_plain(text) for text in self._labels(control)}:
                self.values[name] = value
                return self
        known = [text for control in self.node.css("input, select, textarea") for text in self._labels(control)]
        raise AssertionError(f"{self.page.path}: no control {label!r} in {known}")

    def _labels(self, control: LexborNode) -> list[str]:
        found = [control.attributes.get("aria-label") or ""]
        id_ = control.attributes.get("id")
        if id_:
            found += [_words(node) for node in self.page.css(f'label[for="{id_}"]')]
        parent = control.parent
        while parent is not None and parent.tag != "form":
            if parent.tag == "label":
                found.append(_words(parent))
                # Without the texts of the options of a select.
                found.append(" ".join(text.strip() for text in [parent.text(deep=False)] if text.strip()))
            parent = parent.parent
        return [text for text in found if text]

    def error(self, label: str) -> str | None:
        """Return the message of a wrong field, or None if the field is not marked as wrong."""
        wanted = _plain(label)
        for control in self.node.css('[aria-invalid="true"]'):
            if wanted in {_plain(text) for text in self._labels(control)}:
                ids = (control.attributes.get("aria-describedby") or "").split()
                return " ".join(_words(self.page.one(f'[id="{id_}"]')) for id_ in ids)
        return None

    def press(self, text: str | None = None, *, follow: bool = True, **headers: str) -> PageReply:
        """Send the form with the button of this text. The token of the page is part of it."""
        text = text or self._button
        buttons = [node for node in self.node.css("button") if text is None or _button_name(node) == text]
        assert buttons, f"{self.page.path}: no button {text!r}"
        attributes = buttons[0].attributes
        name, values = attributes.get("name"), dict(self.values)
        if name:
            values[name] = attributes.get("value") or ""
        action = urljoin(self.page.path, attributes.get("formaction") or self.node.attributes.get("action") or "")
        if (self.node.attributes.get("method") or "get").lower() == "get":
            return self.page.browser.get(f"{action.partition('?')[0]}?{urlencode(values)}", follow=follow)
        return self.page.browser.post(action, values, follow=follow, headers=headers)


def _words(node: LexborNode) -> str:
    return re.sub(r"\s+", " ", node.text()).strip()


def _plain(label: str) -> str:
    return re.sub(r"[\s_-]+", " ", label).strip().lower()


def _button_name(node: LexborNode) -> str:
    return node.attributes.get("aria-label") or _words(node)


def _multipart(fields: Mapping[str, Any]) -> bytes:
    parts = []
    for name, value in fields.items():
        if isinstance(value, File):
            head = f'name="{name}"; filename="{value.name}"\r\nContent-Type: {value.kind}'
            content = value.content
        else:
            head, content = f'name="{name}"', str(value).encode()
        parts.append(f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def a_browser(
    server: Server, *, user_id: int | None = None, language: str = "en", second_factor_h: float | None = None
) -> Browser:
    """Return a new visitor of the server. With `user_id`, the visitor has a session without having logged in.

    `second_factor_h` are the hours since the visitor used a second factor.
    """
    browser = Browser(server, language=language)
    if user_id is not None:
        token = secrets.token_urlsafe(web_sessions.TOKEN_BYTES)
        now_ms = time.time_ns() // 1_000_000
        with stores.engine(server.data).begin() as connection:
            connection.execute(
                tables.web_sessions.insert().values(
                    hash=web_sessions.token_hash(token),
                    user_id=user_id,
                    created_at_ms=now_ms,
                    seen_at_ms=now_ms,
                    expires_at_ms=now_ms + web_sessions.SESSION_MS,
                    second_factor_at_ms=None if second_factor_h is None else now_ms - int(second_factor_h * 3_600_000),
                    address="127.0.0.1",
                    agent="kiai tests",
                )
            )
        browser.cookies["kiai"] = token
    return browser
