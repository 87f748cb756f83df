"""Code snippets for an example request, which readers copy from `/docs`."""

import json
import shlex
from textwrap import indent
from typing import Final

from kiai.faces.api.examples import Example

KEY: Final = "YOUR_KEY"
"""The placeholder for the reader's API key."""


def curl(example: Example, base: str) -> str:
    """Return the request as a command for a POSIX shell."""
    parts = ["curl"]
    if example.kind == "file":
        parts.append("-OJ")  # save the file under the name in Content-Disposition
    if example.kind == "stream":
        parts.append("-N")  # print events at once, without buffering
    if example.method not in ("GET", "POST"):  # curl uses POST when there is a body
        parts.append(f"-X {example.method}")
    for name, text in _headers(example).items():
        parts.append(f"-H {shlex.quote(f'{name}: {text}')}")
    if example.json is not None:
        parts.append("-H 'Content-Type: application/json'")
        parts.append(f"-d {shlex.quote(json.dumps(example.json))}")
    if example.upload is not None:
        parts.append(f"-F {example.upload_as}=@{shlex.quote(example.upload)}")
    parts.append(shlex.quote(base + example.target))
    line = " ".join(parts)
    return line if len(line) <= 100 else " \\\n  ".join(parts)


def python(example: Example, base: str) -> str:
    """Return the request as a Python script with httpx."""
    path = example.target.partition("?")[0]
    arguments = [_text(base + path)]
    if example.query:
        values: dict[str, list[str]] = {}
        for name, text in example.query:
            values.setdefault(name, []).append(text)
        pairs = [
            f"{_text(name)}: {_text(found[0]) if len(found) == 1 else '[' + ', '.join(map(_text, found)) + ']'}"
            for name, found in values.items()
        ]
        arguments.append("params={" + ", ".join(pairs) + "}")
    headers = _headers(example)
    if headers:
        arguments.append(
            "headers={" + ", ".join(f"{_text(name)}: {_text(text)}" for name, text in headers.items()) + "}"
        )
    if example.json is not None:
        arguments.append(f"json={_literal(example.json)}")
    if example.upload is not None:
        arguments.append(f'files={{"{example.upload_as}": picture}}')
    if example.kind == "stream":
        arguments = ['"GET"', *arguments, "timeout=None"]
        return (
            f"import httpx\n\nwith httpx.stream({_wrapped(arguments)}) as answer:\n"
            "    for line in answer.iter_lines():\n        print(line)"
        )
    function = example.method.lower()
    if example.method == "DELETE" and example.json is not None:  # `httpx.delete` takes no body
        function, arguments = "request", ['"DELETE"', *arguments]
    request = f"answer = httpx.{function}({_wrapped(arguments)})"
    if example.upload is not None:
        request = f'with open({_text(example.upload)}, "rb") as picture:\n{indent(request, "    ")}'
    lines = ["import httpx", "", request, "answer.raise_for_status()"]
    if example.kind == "file":
        lines += ['with open("replay.osr", "wb") as file:', "    file.write(answer.content)"]
    else:
        lines.append("print(answer.json())")
    return "\n".join(lines)


def _literal(value: object) -> str:
    """Return a JSON value as Python. Words and numbers look the same in both, apart from true, false and null."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(name)}: {_literal(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return _text(value) if isinstance(value, str) else repr(value)


def javascript(example: Example, base: str) -> str:
    """Return the request as JavaScript with `fetch`, for browsers and Node.js."""
    url = _text(base + example.target)
    if example.kind == "stream":
        return (
            f"const events = new EventSource({url});\n"
            'events.addEventListener("match", (event) => console.log(JSON.parse(event.data)));'
        )
    lines = []
    options = [] if example.method == "GET" else [f"method: {_text(example.method)}"]
    headers = _headers(example)
    if example.json is not None:
        headers["Content-Type"] = "application/json"
        options.append(f"body: JSON.stringify({json.dumps(example.json)})")
    if example.upload is not None:
        lines += [
            "const form = new FormData();",
            f'form.append("{example.upload_as}", document.querySelector("input[type=file]").files[0]);',
        ]
        options.append("body: form")
    if headers:
        options.append(
            "headers: {" + ", ".join(f"{_text(name)}: {_text(text)}" for name, text in headers.items()) + "}"
        )
    if not options:
        lines.append(f"const answer = await fetch({url});")
    else:
        lines += [f"const answer = await fetch({url}, {{", *(f"  {option}," for option in options), "});"]
    read = (
        "const replay = await answer.arrayBuffer();" if example.kind == "file" else "console.log(await answer.json());"
    )
    return "\n".join([*lines, "if (!answer.ok) throw new Error(await answer.text());", read])


def _headers(example: Example) -> dict[str, str]:
    key = {"Authorization": f"Bearer {KEY}"} if example.needs_key else {}
    return key | example.headers


def _wrapped(arguments: list[str]) -> str:
    """Join the arguments of a call: in one line up to 80 characters, otherwise one argument per line."""
    line = ", ".join(arguments)
    return line if len(line) <= 80 else "\n" + "".join(f"    {argument},\n" for argument in arguments)


def _text(text: str) -> str:
    """Return a string literal that is valid in both Python and JavaScript."""
    return json.dumps(text)
