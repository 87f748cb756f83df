"""Places where a fault test lets the process die or stumble (docs/spec/security.md#fault-tests).

`KIAI_FAILPOINTS="submit.committed=once:kill,submit.in_tx=p=0.01:raise"`, honoured only with `KIAI_TESTING=1`. Actions:
`kill` (SIGKILL to itself), `raise` (our own failure), `enospc` (a full disk), `sleep:MS`. `once:` acts the first time
only, `p=0.01:` now and then.
"""

import errno
import os
import random
import signal
import time
from collections.abc import Callable, Mapping

from kiai.logs import get_logger

Reach = Callable[[str], None]
"""Called with a failpoint's name where it stands in the code."""


def nothing_fails(name: str) -> None:
    """The failpoints of a server that is not under test."""


class Failpoints:
    """The failpoints that an environment asks for. An action may end the process or raise."""

    def __init__(self, wanted: str) -> None:
        self._actions = dict(part.split("=", 1) for part in wanted.split(",") if part)
        self._random = random.Random()

    def __call__(self, name: str) -> None:
        """Acts if this failpoint is wanted."""
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
            time.sleep(int(action.removeprefix("sleep:")) / 1000)


def failpoints(environment: Mapping[str, str]) -> Reach:
    """What stands at the failpoints of a server with this environment."""
    wanted = environment.get("KIAI_FAILPOINTS", "")
    if not wanted or environment.get("KIAI_TESTING") != "1":
        return nothing_fails
    get_logger("failpoints").warning("this server fails on purpose", failpoints=wanted)
    return Failpoints(wanted)
