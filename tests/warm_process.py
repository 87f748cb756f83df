"""The program of `warm.py`: imports kiai once and forks for each command. Each forked process is then a kiai process.

It has imported all commands and compiled the templates of the website, too. A server that a test starts as a shell does
imports and compiles them itself.

The fork happens before any thread or event loop exists, so the process continues as if it had imported kiai itself.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, Final, NoReturn

import asyncpg  # noqa: F401
import pwdlib.hashers.argon2
import pwdlib.hashers.bcrypt  # noqa: F401
import redis.asyncio  # noqa: F401
import typer._adapters  # noqa: F401
from tests import hashing, warm_workers

import kiai.app
import kiai.cli.main
import kiai.demo
import kiai.realtime.redis
import kiai.storage.migrating
import kiai.storage.postgres
from kiai import __main__ as kiai_main
from kiai import server_process, supervisor_process
from kiai.faces.site import templating
from kiai.faces.site.assets import Assets
from kiai.faces.site.template_code import SharedCode

execute: Final = os.execve
DESCRIPTORS: Final = 3
"""Of each request: the connection for its arguments and its end, stdout and stderr."""
MAINS: Final = {"kiai.server_process": server_process.main}
"""The main functions of the processes by which `kiai serve` replaces its own. Others are executed."""
WORKERS: Final = "KIAI_WORKERS"


class Replaced(BaseException):
    """`kiai serve` has replaced its process. Python would import the same modules again, so that is left out."""

    def __init__(self, main: Callable[[list[str]], int], arguments: list[str]) -> None:
        super().__init__()
        self.main = main
        self.arguments = arguments


def import_commands() -> None:
    """Import the modules of all commands and the settings: they take most of the time of a command."""
    for place in kiai.cli.main.MODULES.values():
        importlib.import_module(f"kiai.cli.{place.partition(':')[0]}")


def share_compiled_templates() -> None:
    """Compile the templates of the website once. Each server would start a process for it, and take a second."""
    templates = templating.Templates(Assets(), {})
    compiled = {name: templates.compile(name) for name in templates.names()}

    class Compiled(SharedCode):
        """Code that is there from the start."""

        def __init__(self) -> None:
            super().__init__()
            for name, code in compiled.items():
                self.add(name, code)

    templating.SharedCode = Compiled  # type: ignore[attr-defined]


def wait_for_command(requests: socket.socket) -> None:
    """Fork for each request. Return in the forked processes; end when the test process has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, and then this process
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forget the processes that have ended
    gc.collect()
    gc.freeze()  # a collection in a forked process would copy the memory of everything imported
    while True:
        _, descriptors, _, _ = socket.recv_fds(requests, 1, DESCRIPTORS)
        if not descriptors:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            run_and_report(*descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def run_and_report(connection: int, out: int, err: int) -> None:
    """Fork the process of a command and report its id and its exit code. Return in that process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with socket.socket(fileno=connection) as report:
        with report.makefile("rb") as lines:
            arguments, environment, folder = json.loads(lines.readline())
        process = os.fork()
        if process:
            for descriptor in (0, 1, 2, out, err):
                os.close(descriptor)
            report.sendall(f"{process}\n".encode())
            watch_over(report, process)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    hashing.choose_memory()
    sys.argv = ["kiai", *arguments]


def watch_over(report: socket.socket, process: int) -> NoReturn:
    """Report the exit code of the process of a command. Kill the process when the test process has ended."""
    ended = threading.Event()

    def kill_after_tests() -> None:
        """The test process sends nothing here. So this returns when it has ended, or needs no exit code any more."""
        report.recv(1)
        if not ended.is_set():
            os.kill(process, signal.SIGKILL)

    threading.Thread(target=kill_after_tests, daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    ended.set()
    with contextlib.suppress(OSError):  # the test process has ended
        report.sendall(f"{code}\n".encode())
    os._exit(0)


def replace_process(program: Any, arguments: Any, environment: Any) -> NoReturn:
    """Continue as the server, or as the supervisor of workers, instead of executing Python again."""
    _, _, _, module, *rest = arguments
    if module not in MAINS:
        execute(program, arguments, environment)
    os.environ.update(environment)
    raise Replaced(MAINS[module], rest)


def run() -> int:
    """Run the command of this process and return its exit code."""
    main: Callable[[], int | None] = kiai_main.main
    while True:
        try:
            return exit_code_of(main)
        except Replaced as replaced:
            main = functools.partial(replaced.main, replaced.arguments)
        # Outside the handler, or each exception of the server would have this one as its context.


def exit_code_of(main: Callable[[], int | None]) -> int:
    """Run a main function and return the exit code that Python would give it."""
    try:
        return main() or 0
    except Replaced:
        raise
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1


def end(code: int) -> NoReturn:
    """End as Python does, but leave the release of a million objects, one by one, to the system."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    import_commands()
    share_compiled_templates()
    wait_for_command(socket.socket(fileno=int(sys.argv[1])))
    if sys.argv[1:2] != ["serve"]:
        sys.modules.pop("rich")  # server_process has hidden it from the server
    os.execve = replace_process  # type: ignore[assignment]
    if sys.platform == "linux" and WORKERS in os.environ:
        MAINS["kiai.supervisor_process"] = supervisor_process.main
        if (worker := warm_workers.prepare()) is not None:
            end(exit_code_of(functools.partial(server_process.main, worker)))
    end(run())
