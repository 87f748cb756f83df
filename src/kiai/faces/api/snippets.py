"""An example request as a command line and as code, as readers copy it from `/docs`."""

import json
import shlex
from textwrap import indent
from typing import Final

from kiai.faces.api.examples import Example

KEY: Final = "YOUR_KEY"
"""What readers replace by their own API key."""


def curl(example: Example, base: str) -> str:
    """The request for a shell."""
    parts = ["curl"]
    if example.kind == "file":
        parts.append("-OJ")
    if example.kind == "stream":
        parts.append("-N")
    if example.method not in ("GET", "POST"):  # POST follows from a body
        parts.append(f"-X {example.method}")
    for name, text in _headers(example).items():
        parts.append(f"-H {shlex.quote(f'{name}: {text}')}")
    if example.json is not None:
        parts.append("-H 'Content-Type: application/json'")
        parts.append(f"-d {shlex.quote(json.dumps(example.json))}")
    if example.upload is not None:
        parts.append(f"-F avatar=@{shlex.quote(example.upload)}")
    parts.append(shlex.quote(base + example.target))
    line = " ".join(parts)
    return line if len(line) <= 100 else " \\\n  ".join(parts)


def python(example: Example, base: str) -> str:
    """The request with httpx."""
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
        arguments.append(f"json={json.dumps(example.json)}")
    if example.upload is not None:
        arguments.append('files={"avatar": picture}')
    if example.kind == "stream":
        arguments = ['"GET"', *arguments, "timeout=None"]
        return (
            f"import httpx\n\nwith httpx.stream({_wrapped(arguments)}) as answer:\n"
            "    for line in answer.iter_lines():\n        print(line)"
        )
    request = f"answer = httpx.{example.method.lower()}({_wrapped(arguments)})"
    if example.upload is not None:
        request = f'with open({_text(example.upload)}, "rb") as picture:\n{indent(request, "    ")}'
    lines = ["import httpx", "", request, "answer.raise_for_status()"]
    if example.kind == "file":
        lines += ['with open("replay.osr", "wb") as file:', "    file.write(answer.content)"]
    else:
        lines.append("print(answer.json())")
    return "\n".join(lines)


def javascript(example: Example, base: str) -> str:
    """The request with `fetch`, for browsers and Node.js."""
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
            'form.append("avatar", document.querySelector("input[type=file]").files[0]);',
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
    """The arguments of a call, in one line if that is short."""
    line = ", ".join(arguments)
    return line if len(line) <= 80 else "\n" + "".join(f"    {one},\n" for one in arguments)


def _text(text: str) -> str:
    """A string literal of Python and JavaScript alike."""
    return json.dumps(text)
