"""Two real Redis servers, a primary and its replica, and three Sentinels that watch them."""

import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError
from tests import programs
from tests.patience import wait_until
from tests.redises import PROGRAM, RedisServer, free_port

SERVICE: Final = "games"
DOWN_AFTER_MS: Final = 1_000
READY_S: Final = 30.0
SENTINELS: Final = 3
CONFIGURATION: Final = """port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {service} 127.0.0.1 {primary} 2
sentinel down-after-milliseconds {service} {down_after}
sentinel failover-timeout {service} 3000
"""


class WatchedRedis:
    """A pair of servers with Sentinels. `primary` and `replica` are as this object has last arranged or seen them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kiai-sentinels-")
        self.primary = RedisServer()
        self.replica = RedisServer(options=["--replicaof", "127.0.0.1", str(self.primary.port)])
        self._sentinels: list[tuple[int, subprocess.Popen[bytes]]] = []
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        wait_until(lambda: _follows(self.replica), within_s=READY_S, what="the replica does not follow")
        for number in range(SENTINELS):
            port, folder = free_port(), Path(self._folder.name, str(number))
            folder.mkdir()
            (folder / "sentinel.conf").write_text(
                CONFIGURATION.format(
                    port=port, folder=folder, service=SERVICE, primary=self.primary.port, down_after=DOWN_AFTER_MS
                )
            )
            command = [PROGRAM, str(folder / "sentinel.conf"), "--sentinel"]
            process = programs.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self._sentinels.append((port, process))
        wait_until(self._know_each_other, within_s=READY_S, what="the Sentinels do not find each other")

    @property
    def url(self) -> str:
        """The URL for the setting `state`."""
        hosts = ",".join(f"127.0.0.1:{port}" for port, _ in self._sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def _know_each_other(self) -> bool:
        for port, _ in self._sentinels:
            state = _asked(port, "SENTINEL", "MASTER", SERVICE)
            if state is None or int(state["num-other-sentinels"]) != SENTINELS - 1 or int(state["num-slaves"]) != 1:
                return False
        return True

    def kill_primary(self) -> None:
        """Kill the primary with SIGKILL. Sentinel promotes the replica."""
        self.primary.stop()
        self.primary, self.replica = self.replica, self.primary

    def freeze_primary(self) -> None:
        """Stop the primary with SIGSTOP. Sentinel promotes the replica."""
        self._signal_primary(signal.SIGSTOP)
        self.primary, self.replica = self.replica, self.primary

    def bring_back(self) -> None:
        """Start or continue the former primary, and wait until it follows the new one."""
        if self.replica.process is None:
            self.replica.start()
            with Redis(port=self.replica.port) as client:  # as Sentinel does after ten seconds
                client.replicaof("127.0.0.1", str(self.primary.port))
        else:
            os.kill(self.replica.process.pid, signal.SIGCONT)
        wait_until(lambda: _follows(self.replica), within_s=READY_S, what="the former primary does not follow")
        wait_until(self._know_each_other, within_s=READY_S, what="the Sentinels do not see the former primary")

    def _signal_primary(self, number: int) -> None:
        assert self.primary.process is not None
        os.kill(self.primary.process.pid, number)

    def close(self) -> None:
        """End all processes."""
        for _, process in self._sentinels:
            programs.end(process)
        for server in (self.primary, self.replica):
            server.close()
        self._folder.cleanup()


def _asked(port: int, *command: str) -> Any:
    try:
        with Redis(port=port, decode_responses=True, socket_timeout=2.0) as client:
            answer = client.execute_command(*command)
    except RedisError:
        return None
    return answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))


def _follows(server: RedisServer) -> bool:
    try:
        with Redis(port=server.port, socket_timeout=2.0) as client:
            state = client.info("replication")
    except RedisError:
        return False
    return bool(state["role"] == "slave" and state["master_link_status"] == "up")
