"""Profiles: the functions that use the processor, their bounds, and the sockets of the processes."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.patience import join, patiently

from kiai.errors import Refused, Unavailable
from kiai.profiling import FRAMES_MAX, Profile, StackTime, profile
from kiai.served_profile import ProfileSender, opened_profile_socket, read_profiles, speedscope

PASSWORD = "value of an argument"


@contextmanager
def busy(work: Any) -> Iterator[None]:
    """Run `work` again and again in a thread named `busy`."""
    stopped = threading.Event()

    def run() -> None:
        while not stopped.is_set():
            work()

    thread = threading.Thread(target=run, name="busy")
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        join(thread)


def counting(password: str = PASSWORD) -> int:
    return sum(number for number in range(20_000) if number != len(password))


def deep(left: int = 3 * FRAMES_MAX) -> int:
    return deep(left - 1) if left else counting()


def sampled(seconds: float = 0.4) -> Profile:
    return profile(os.getpid(), patiently(seconds), threading.Event())


def test_work_is_found_with_its_functions_and_without_values() -> None:
    with busy(counting):
        found = sampled()

    # Threads of earlier tests may be at work as well, so only this thread is judged.
    stacks = [stack for stack in found.stacks if stack.thread == "busy"]
    counted = [stack for stack in stacks if any("counting" in frame for frame in stack.frames)]
    assert sum(stack.ms for stack in counted) > 0.5 * sum(stack.ms for stack in stacks) > 0
    assert found.looks > 5
    assert PASSWORD not in str(found)


def test_thread_that_waits_takes_no_time() -> None:
    waiting = threading.Event()
    thread = threading.Thread(target=waiting.wait, name="waiting")
    thread.start()

    found = sampled(0.2)
    waiting.set()
    join(thread)

    assert [stack for stack in found.stacks if stack.thread == "waiting" and stack.ms > 5] == []


def test_deep_stack_has_its_innermost_functions() -> None:
    with busy(deep):
        found = sampled()

    stack = next(stack for stack in found.stacks if stack.thread == "busy")
    assert len(stack.frames) == FRAMES_MAX
    assert "counting" in stack.frames[-1] or "deep" in stack.frames[-1]


def test_profile_ends_when_it_is_stopped_and_restores_the_turns_of_threads() -> None:
    turns_s, stopped = sys.getswitchinterval(), threading.Event()
    threading.Timer(0.1, stopped.set).start()

    found = profile(os.getpid(), 60.0, stopped)

    assert found.seconds < 30
    assert sys.getswitchinterval() == turns_s


def served(data: Path, work: Any) -> Any:
    """Run `work` in a thread while this process answers on its socket."""

    async def serve() -> Any:
        with opened_profile_socket(data) as listening:
            assert listening is not None
            sender = ProfileSender(listening)
            sender.start()
            try:
                return await asyncio.to_thread(work)
            finally:
                sender.stop()

    return asyncio.run(serve())


def test_process_answers_on_a_private_socket_that_is_removed_at_the_end(tmp_path: Path) -> None:
    def work() -> tuple[list[Profile], list[int]]:
        return read_profiles(tmp_path, 1), [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()]

    [found], modes = served(tmp_path, work)

    assert found.pid == os.getpid()
    assert 0.9 < found.seconds < patiently(3)
    assert modes == [0o600]
    assert list(tmp_path.iterdir()) == []


def test_second_profile_at_the_same_time_is_refused(tmp_path: Path) -> None:
    def work() -> None:
        first = threading.Thread(target=read_profiles, args=(tmp_path, 2))
        first.start()
        time.sleep(0.3)
        with pytest.raises(Refused, match="another profile"):
            read_profiles(tmp_path, 1)
        join(first)

    served(tmp_path, work)


@pytest.mark.parametrize("seconds", [0, 61, 10**9])
def test_server_refuses_durations_out_of_bounds(tmp_path: Path, seconds: int) -> None:
    def work() -> None:
        with pytest.raises(Refused, match="1 to 60 seconds"):
            read_profiles(tmp_path, seconds)

    served(tmp_path, work)


def test_socket_of_a_killed_process_does_not_count_and_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait(patiently(60))
    stale = tmp_path / f"profile-{ended.pid}.sock"
    stale.touch()

    with pytest.raises(Refused, match="no server runs"):
        read_profiles(tmp_path, 1)
    served(tmp_path, lambda: None)
    assert not stale.exists()


def test_process_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiai.served_profile.ANSWER_S", -0.5)

    with opened_profile_socket(tmp_path), pytest.raises(Unavailable, match="SIGUSR1"):
        read_profiles(tmp_path, 1)


def test_flame_file_has_the_frames_and_times_of_each_thread() -> None:
    found = speedscope(
        [
            Profile(7, 1.0, 9, True, [StackTime("MainThread", ("a", "b"), 3.0), StackTime("MainThread", ("a",), 1.0)]),
            Profile(8, 1.0, 9, True, [StackTime("sqlite-slow", ("b",), 2.0)]),
        ]
    )

    assert json.loads(json.dumps(found))["shared"] == {"frames": [{"name": "a"}, {"name": "b"}]}
    assert [
        (one["name"], one["samples"], one["weights"], one["endValue"])
        for one in found["profiles"]  # type: ignore[attr-defined]
    ] == [("7 MainThread", [[0, 1], [0]], [3.0, 1.0], 4.0), ("8 sqlite-slow", [[1]], [2.0], 2.0)]
