"""Tasks and stacks in the log at SIGUSR1, also while the event loop is blocked, and without values."""

import json
import subprocess
import sys
from typing import Any

from tests.patience import patiently

PROGRAM = """
import asyncio, os, signal, threading, time
from kiai import logs
from kiai.stacks import log_on_signal

async def inner(password):
    await asyncio.sleep(60)

async def outer(password):
    await inner(password)

def blocking(password):
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(WAIT)

async def main():
    logs.configure("json", "warning")
    answered = asyncio.Event()
    log_on_signal(asyncio.get_running_loop(), then=answered.set)
    tasks = [asyncio.create_task(outer("hunter2"), name=name) for name in ("first", "second")]
    tasks += [asyncio.create_task(outer("hunter2")) for _ in range(3)]
    threading.Thread(target=threading.Event().wait, name="helper", daemon=True).start()
    await asyncio.sleep(0)
    blocking("hunter2")
    await answered.wait()
    answered.clear()
    os.kill(os.getpid(), signal.SIGUSR1)
    await answered.wait()

asyncio.run(main())
"""


def dumps(wait_s: float) -> list[list[dict[str, Any]]]:
    """Run the program and return the lines of each dump."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("WAIT", str(wait_s))],
        capture_output=True,
        text=True,
        timeout=patiently(30),
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "hunter2" not in done.stderr
    found: list[list[dict[str, Any]]] = []
    for line in map(json.loads, done.stderr.splitlines()):
        if line["event"] == "stacks":
            found.append([])
        found[-1].append(line)
    return found


def test_blocked_event_loop_is_shown_with_the_function_that_blocks_it() -> None:
    blocked, free = dumps(patiently(1.0))

    head, *lines = blocked
    threads = {line["thread"]: line["stack"] for line in lines if line["event"] == "thread"}
    assert head["threads"] == len(threads) + 1  # without the thread that writes
    assert threads["MainThread"][-1].endswith(" blocking")
    assert threads["helper"][-1].endswith(" Condition.wait")
    assert not any("blocking" in place for line in free for place in line.get("stack", ()))


def test_tasks_with_the_same_stack_share_a_line_with_the_whole_chain_of_awaits() -> None:
    _, (head, *lines) = dumps(0.0)

    tasks = [line for line in lines if line["event"] == "task"]
    assert head["tasks"] == sum(task["count"] for task in tasks) == 6
    assert head["different"] == len(tasks) == 2
    assert (tasks[0]["count"], tasks[0]["names"]) == (5, ["first", "second"])
    assert [place.split()[1] for place in tasks[0]["stack"]] == ["outer", "inner", "sleep"]
    assert {line["pid"] for line in (head, *lines)} == {head["pid"]}
