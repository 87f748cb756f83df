"""Lines about polls in the log of a running server."""

from pathlib import Path

from tests.wire.kit import Server
from tests.wire.test_metrics import figures

POLLS = 30


def test_every_third_poll_has_a_line_and_the_others_are_counted(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", LOG_POLLS="1/3").start()
    try:
        for _ in range(POLLS):
            reply = server.ask("POST", "/", host="c.localhost", headers={"User-Agent": "osu!", "osu-token": "nobody's"})
            assert reply.status == 200
        counted = figures(server)['kiai_http_requests_total{face="bancho",route="poll",status="200"}']
        server.stop()

        lines = [line for line in server.log_lines if line.get("route") == "poll"]
        [left_out] = [line for line in server.log_lines if line["event"] == "polls without a line"]
        assert len(lines) >= POLLS / 3
        assert len(lines) + left_out["count"] == counted == POLLS
    finally:
        server.kill()
