"""The password of a match stays with those who have it, on two workers with Redis and rate limits on."""

import threading
from pathlib import Path
from typing import Final

from tests.builders import a_map
from tests.cluster.kit import Cluster, running
from tests.faces.bancho.client_bytes import whole
from tests.patience import join, wait_until
from tests.wire.submitting import log_in, poll

from kiai.faces.bancho.packets import ClientPacket, JoinMatch, MatchForm, ServerPacket, SlotForm
from kiai.faces.bancho.wire import packets_in

NAME: Final = "night match"
SECRETS: Final = [f"moonlight-{number}" for number in range(10)]
"""The passwords that the match has, one after the other."""
GUESSERS: Final = 3
GUESSES: Final = 20
SLOTS: Final = tuple(SlotForm(1, 0, 0, 0) for _ in range(16))


def form(host: int, password: str) -> MatchForm:
    return MatchForm(0, False, 0, NAME, password, "A - B [C]", 75, "0" * 32, SLOTS, host, 0, 0, 0, False, 0)


def ids_in(body: bytes) -> list[int]:
    return [id_ for id_, _ in packets_in(body)]


class Guesser:
    """A client in the lobby that tries wrong passwords and polls on several connections at once."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._token = log_in(cluster, name)
        self.received = [poll(cluster, self._token, whole(ClientPacket.JOIN_LOBBY, None))]
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._guess) for _ in range(GUESSERS)]

    @property
    def refused(self) -> int:
        return sum(ids_in(body).count(ServerPacket.MATCH_JOIN_FAIL) for body in tuple(self.received))

    def _guess(self) -> None:
        wrong = whole(ClientPacket.JOIN_MATCH, JoinMatch(1, "moonshine"))
        while not self.ended.is_set():
            self.received.append(poll(self._cluster, self._token, wrong))
            self.received.append(poll(self._cluster, self._token))


def test_password_of_a_match_does_not_reach_players_with_a_wrong_one(tmp_path: Path) -> None:
    with running(tmp_path, ["alice", "bob", "mallory"], [a_map(100)]) as cluster:
        alice, bob = log_in(cluster, "alice"), log_in(cluster, "bob")
        host = cluster.get("/get_player_info?scope=info&name=alice").json["player"]["info"]["id"]
        opened = poll(cluster, alice, whole(ClientPacket.CREATE_MATCH, form(host, SECRETS[0])))
        assert ServerPacket.MATCH_JOIN_SUCCESS in ids_in(opened)
        guesser = Guesser(cluster, "mallory")
        for thread in guesser.threads:
            thread.start()
        try:
            seen_by_alice = opened
            for number, secret in enumerate(SECRETS):
                due = number * GUESSES // len(SECRETS)
                wait_until(lambda due=due: guesser.refused >= due, within_s=60.0)  # type: ignore[misc]
                seen_by_alice += poll(cluster, alice, whole(ClientPacket.MATCH_CHANGE_PASSWORD, form(host, secret)))
            joined = poll(cluster, bob, whole(ClientPacket.JOIN_MATCH, JoinMatch(1, SECRETS[-1])))
            wait_until(lambda: guesser.refused >= GUESSES, within_s=60.0)
        finally:
            guesser.ended.set()
            for thread in guesser.threads:
                join(thread)

        received = b"".join(guesser.received)
        assert b"moonlight" in seen_by_alice
        assert ServerPacket.MATCH_JOIN_SUCCESS in ids_in(joined)
        assert SECRETS[-1].encode() in joined
        assert NAME.encode() in received  # the lobby shows the match
        assert b"moonlight" not in received
        cluster.stop()
        assert '"packet failed"' not in cluster.stderr
