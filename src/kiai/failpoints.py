"""Named places where fault tests stop or disturb the process (docs/spec/security.md#fault-tests).

Example: `KIAI_FAILPOINTS="submit.committed=once:kill,submit.in_tx=p=0.01:raise"`. It has an effect only with
`KIAI_TESTING=1`. The actions are `kill` (SIGKILL to this process), `raise` (RuntimeError), `enospc` (full disk) and
`sleep:MS`. The prefix `once:` limits an action to the first time, and `p=0.01:` gives it a probability.
"""

import errno
import os
import random
import signal
import time
from collections.abc import Callable, Mapping

from kiai.logs import get_logger

Reach = Callable[[str], None]
"""Code calls it with the name of the failpoint that it has reached."""


def nothing_fails(name: str) -> None:
    """Do nothing: the failpoints of a server that is not under test."""


class Failpoints:
    """The failpoints in the text of `KIAI_FAILPOINTS`. An action may end the process or raise."""

    def __init__(self, text: str) -> None:
        self._actions = dict(part.split("=", 1) for part in text.split(",") if part)
        self._random = random.Random()

    def __call__(self, name: str) -> None:
        """Run the action of this failpoint, if it has one."""
        action = self._actions.get(name)
        if action is None:
            return
        if action.startswith("once:"):
            del self._actions[name]
            action = action.removeprefix("once:")
        elif action.startswith("p="):
            chance, _, action = action.removeprefix("p=").partition(":")
            if self._random.random() >= float(chance):
                return
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == "raise":
            raise RuntimeError(f"failpoint {name}")
        elif action == "enospc":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        elif action.startswith("sleep:"):
            time.sleep(int(action.removeprefix("sleep:")) / 1000)  # blocks the event loop on purpose, as a slow disk


def failpoints(environment: Mapping[str, str]) -> Reach:
    """Return the failpoints of a server with this environment."""
    text = environment.get("KIAI_FAILPOINTS", "")
    if not text or environment.get("KIAI_TESTING") != "1":
        return nothing_fails
    get_logger("failpoints").warning("this server fails on purpose", failpoints=text)
    return Failpoints(text)
