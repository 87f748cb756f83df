"""Builds the wheel and proves that it installs only from wheels and serves. Run by `scripts/package`."""

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final
from urllib.request import Request, urlopen

import msgspec
from rich.console import Console
from rich.table import Table

from kiai.version import VERSION

ROOT: Final = Path(__file__).parents[2]
DIST: Final = ROOT / "dist"
UV: Final = str(Path(sys.executable).with_name("uv"))
PYTHON_MIN: Final = (3, 11)
REQUEST_S: Final = 20
NAME: Final = "Package Tester"
WORDS: Final = "correct horse battery"
COUNTRY: Final = "jp"
ADDRESS: Final = "133.242.0.1"  # in Japan


class Failed(Exception):
    """A step that did not work; the text has the output."""


class Proof(msgspec.Struct, frozen=True):
    """Figures of one installation. Sizes are in MB, times in seconds."""

    python: str
    installer: str
    version: str
    packages: int
    size: float
    install_s: float
    ready_s: float
    memory: float


def run(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Return what a command prints. Raises Failed."""
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tempfile.gettempdir(), env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        raise Failed(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def build() -> Path:
    """Return the wheel, built in an environment that holds only what requirements/build.lock pins."""
    constraints = ("--build-constraint", str(ROOT / "requirements" / "build.lock"), "--require-hashes")
    with tempfile.TemporaryDirectory() as folder:
        run(UV, "build", "--quiet", "--wheel", *constraints, "--out-dir", folder, str(ROOT))
        [built] = Path(folder).glob("*.whl")
        version = built.name.split("-")[1]
        if version.split(".d2")[0] != VERSION:  # `.d` and the date mark changes that are not committed
            raise Failed(f"the wheel has the version {version}, the checkout {VERSION}; commit all changes first")
        DIST.mkdir(exist_ok=True)
        return Path(shutil.move(built, DIST / built.name))


def pythons() -> Iterator[str]:
    """Yield the Pythons of this machine: one of each minor version, from the path and from pyenv."""
    found: dict[tuple[int, int], str] = {}
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [
        *(f"python3.{minor}" for minor in range(PYTHON_MIN[1], 20)),
        *map(str, sorted(root.glob("versions/3.*/bin/python"))),
    ]
    for candidate in candidates:
        program = "import sys; print(*sys.version_info[:2])"
        with contextlib.suppress(OSError):
            done = subprocess.run([candidate, "-c", program], capture_output=True, text=True)
            if not done.returncode:
                major, minor = map(int, done.stdout.split())
                if (major, minor) >= PYTHON_MIN:
                    found.setdefault((major, minor), candidate)
    yield from (found[version] for version in sorted(found))


def prove_pip(python: str, wheel: Path, folder: Path) -> Proof:
    """Return what was seen of a bare environment in which pip installed the wheel. Raises Failed."""
    run(python, "-m", "venv", str(folder))
    started = time.monotonic()
    options = ("--quiet", "--disable-pip-version-check", "--only-binary", ":all:")
    run(str(folder / "bin" / "python"), "-m", "pip", "install", *options, str(wheel))
    return serve(folder, folder / "bin" / "kiai", "pip", time.monotonic() - started)


def prove_uv_tool(python: str, wheel: Path, folder: Path) -> Proof:
    """Return what was seen after `uv tool install`. Raises Failed."""
    environment = {"UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(folder / "bin")}
    started = time.monotonic()
    interpreter = run(python, "-c", "import sys; print(sys.executable)").strip()  # uv asks pyenv's shims in vain
    run(UV, "tool", "install", "--quiet", "--no-build", "--python", interpreter, str(wheel), environment=environment)
    return serve(folder / "tools" / "kiai", folder / "bin" / "kiai", "uv tool", time.monotonic() - started)


def serve(environment: Path, kiai: Path, installer: str, install_s: float) -> Proof:
    """Return what was seen of an installed server that a player used. Raises Failed."""
    version = run(str(kiai), "--version").strip()
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryFile("w+") as log:
        options = ["--demo", "--port", "0", "--data", data, "--trusted-proxy", "127.0.0.1/32"]
        started = time.monotonic()
        with subprocess.Popen(
            [kiai, "serve", *options], stdout=subprocess.PIPE, stderr=log, text=True, cwd=data
        ) as server:
            try:
                port = ready_port(server, log)
                ready_s = time.monotonic() - started
                run(str(kiai), "users", "add", NAME, "--email", "p@example.org", "--password", WORDS, "--data", data)
                use(port)
                memory = rss(server.pid)
            finally:
                server.terminate()
        if server.returncode:
            raise Failed(f"kiai serve ended with exit code {server.returncode}")
    [site] = environment.glob("lib/python3*/site-packages")
    return Proof(
        python=run(
            str(environment / "bin" / "python"), "-c", "import platform; print(platform.python_version())"
        ).strip(),
        installer=installer,
        version=version.removeprefix("kiai "),
        packages=len(list(site.glob("*.dist-info"))),
        size=sum(file.stat().st_size for file in site.rglob("*") if file.is_file()) / 1e6,
        install_s=install_s,
        ready_s=ready_s,
        memory=memory,
    )


def ready_port(server: "subprocess.Popen[str]", log: IO[str]) -> int:
    """Return the port of a server that says that it is ready. Raises Failed, with the server's log."""
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.match(r"ready http://\S+:(\d+)", line):
            return int(found[1])
    log.seek(0)
    raise Failed(f"kiai serve ended before it was ready:\n{log.read()}")


def use(port: int) -> None:
    """Log in as the game does, ask the API for the player and for pp, and open the website. Raises Failed."""
    digest = hashlib.md5(WORDS.encode(), usedforsecurity=False).hexdigest()  # as the game sends it
    body = f"{NAME}\n{digest}\nb20260101|0|0|a:a:a:a:a:|0\n"
    headers, _ = ask(port, "c.localhost", "/", body.encode())
    if len(headers.get("cho-token", "")) != 36:
        raise Failed(f"the login was refused: {headers}")
    _, answer = ask(port, "api.localhost", f"/v1/get_player_info?scope=info&name={NAME.replace(' ', '%20')}")
    if (country := json.loads(answer)["player"]["info"]["country"]) != COUNTRY:
        raise Failed(f"the country of {ADDRESS} is {country}, not {COUNTRY}")
    _, answer = ask(port, "api.localhost", "/v1/get_player_scores?scope=best&id=3&limit=1")
    scores: list[dict[str, Any]] = json.loads(answer)["scores"]
    if not scores or not scores[0]["pp"]:
        raise Failed(f"a player of the demo has no pp: {scores}")
    _, page = ask(port, "localhost", "/")
    if b"<html" not in page:
        raise Failed("the website has no front page")


def ask(port: int, host: str, target: str, body: bytes | None = None) -> tuple[Mapping[str, str], bytes]:
    """Return the headers in lower case and the body of an answer. Raises OSError for an error status."""
    headers = {"Host": host, "User-Agent": "osu!", "X-Forwarded-For": ADDRESS}
    with urlopen(Request(f"http://127.0.0.1:{port}{target}", body, headers), timeout=REQUEST_S) as answer:
        return {name.lower(): value for name, value in answer.headers.items()}, answer.read()


def rss(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    return float(run("ps", "-o", "rss=", "-p", str(pid))) / 1024


def show(proofs: Sequence[Proof]) -> None:
    """Print what was seen as a table."""
    table = Table("Python", "installed by", "version", "packages", "MB", "install s", "ready s", "memory MB")
    for proof in proofs:
        figures = (f"{proof.size:.0f}", f"{proof.install_s:.0f}", f"{proof.ready_s:.1f}", f"{proof.memory:.0f}")
        table.add_row(proof.python, proof.installer, proof.version, str(proof.packages), *figures)
    Console().print(table)


def main() -> int:
    """Run the program; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="programs; default: all that this machine has")
    parser.add_argument("--build", action="store_true", help="build the wheel and do not install it")
    arguments = parser.parse_args()
    try:
        wheel = build()
        print(wheel.relative_to(ROOT), f"{wheel.stat().st_size / 1e6:.1f} MB")
        if arguments.build:
            return 0
        proofs = []
        chosen = arguments.pythons or list(pythons())
        for python in chosen:
            with tempfile.TemporaryDirectory() as folder:
                proofs.append(prove_pip(python, wheel, Path(folder)))
        with tempfile.TemporaryDirectory() as folder:
            proofs.append(prove_uv_tool(chosen[-1], wheel, Path(folder)))
    except Failed as failed:
        print(f"package: {failed}", file=sys.stderr)
        return 1
    show(proofs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
