"""The load generator: keep-alive connections that send the next request after each response.

`python -m benchmarks.load PORT HOST CONNECTIONS SECONDS < targets` prints one JSON object. With the HOST `-` each line
is a complete request in hexadecimal digits. With 0 SECONDS each request is sent once.
"""

import asyncio
import json
import random
import sys
import time
from typing import Any

import uvloop

# PERF: a client parses only the status and the length of a response, so that one core of load is faster than one core
# of server.


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: list[bytes], times: list[float], faults: list[int], until: float | None) -> None:
        self._requests = requests
        self._times = times
        self._faults = faults
        self._until = until  # None: send each request of the list once
        self._at = random.randrange(len(requests)) if until is not None else -1
        self._left = 0
        self._head = b""
        self._sent = 0.0
        self._transport: Any = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._at = (self._at + 1) % len(self._requests)
        self._sent = time.perf_counter()
        self._transport.write(self._requests[self._at])

    def data_received(self, data: bytes) -> None:
        """Count the bytes of the response. At its end, send the next request."""
        if self._left:
            self._left -= len(data)
        else:
            data = self._head + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._head = data
                return
            self._head = b""
            start = data.find(b"content-length: ") + 16
            self._left = int(data[start : data.find(b"\r", start)]) - (len(data) - end - 4)
            if data[9:12] != b"200":
                self._faults.append(int(data[9:12]))
        if self._left > 0:
            return
        now = time.perf_counter()
        self._times.append(now - self._sent)
        if now < self._until if self._until is not None else self._at + 1 < len(self._requests):
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Complete `done`."""
        if not self.done.done():
            self.done.set_result(None)


async def run(port: int, host: str, connections: int, seconds: float, targets: list[str]) -> dict[str, object]:
    """Send requests for `seconds` and return the figures. Times are in ms."""
    if host == "-":
        requests = [bytes.fromhex(target) for target in targets]
    else:
        requests = [f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() for target in targets]
    times: list[float] = []
    faults: list[int] = []
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    clients = []
    for number in range(min(connections, len(requests))):
        share = requests if seconds else requests[number::connections]
        client = Client(share, times, faults, started + seconds if seconds else None)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    took = time.perf_counter() - started
    times.sort()
    return {
        "requests": len(times),
        "per_s": len(times) / took,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[int(len(times) * 0.99)] * 1000,
        "faults": len(faults),
        "first_fault": faults[0] if faults else None,
    }


if __name__ == "__main__":
    random.seed(1)
    lines = sys.stdin.read().splitlines()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), lines))))
