"""Programs of others that tests run: stores, a pooler, an authority. Each ends with its test process.

A test process that was killed cannot end what it has started. A shell waits for the end of its pipe and kills the rest.
"""

import atexit
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests import runs
from tests.patience import patiently

ENDED_S: Final = 60.0
WATCH: Final = """
pids=" "
while read -r change pid; do
  case "$change" in
    started) pids="$pids$pid " ;;
    ended) pids="${pids%% "$pid" *} ${pids#* "$pid" }" ;;
  esac
done
[ -z "${pids# }" ] || kill -KILL $pids 2>/dev/null
"""


def start(command: Sequence[str | Path], **options: Any) -> "subprocess.Popen[bytes]":
    """Start a program, which the caller ends. `options` are those of `subprocess.Popen`."""
    watcher = _watcher()
    process = subprocess.Popen(command, **options)
    _tell(watcher, f"started {process.pid}")
    return process


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a program that `start` has started, unless it has ended."""
    process.kill()
    process.wait(patiently(ENDED_S))
    _tell(_watcher(), f"ended {process.pid}")


def _tell(watcher: "subprocess.Popen[bytes]", line: str) -> None:
    assert watcher.stdin is not None
    watcher.stdin.write(f"{line}\n".encode())
    watcher.stdin.flush()


@runs.remembered
def _watcher() -> "subprocess.Popen[bytes]":
    watcher = subprocess.Popen(["sh", "-c", WATCH], stdin=subprocess.PIPE, start_new_session=True)
    atexit.register(lambda: watcher.communicate(timeout=patiently(ENDED_S)))
    return watcher
