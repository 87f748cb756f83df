"""The services of requests and nominations over a world, for tests without a server."""

import json
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Column, select
from tests.builders import NORMAL, NewMap, World, a_player

from kiai.beatmaps import Beatmap, MapStatus
from kiai.chat.mail import Mail
from kiai.osu.privileges import Privilege
from kiai.staff.audit import Actor
from kiai.staff.map_requests import MapRequests, NominationRules
from kiai.staff.nominations import NominationMode
from kiai.staff.player_lines import PlayerLines
from kiai.storage.tables import mail, map_requests, maps, nominations, qualified_sets, webhook_deliveries, webhooks
from kiai.webhooks.model import bits_of

NOMINATOR: Final = int(NORMAL | Privilege.NOMINATOR)
ADMINISTRATOR: Final = int(NORMAL | Privilege.ADMINISTRATOR | Privilege.NOMINATOR)


class Ranking:
    """Requests and nominations over the services of a world, and what they stored."""

    def __init__(self, world: World, rules: NominationRules | None = None) -> None:
        self.world = world
        self.rules = rules or NominationRules(on=True)
        self.requests = MapRequests(world.database, world.authority, world.beatmaps, world.clock, self.rules)
        self.mode = NominationMode(
            world.database,
            world.accounts,
            world.authority,
            world.beatmaps,
            self.requests,
            world.clock,
            self.rules,
        )
        self.importer = world.importer
        self.importer.subscribe(self.mode.on_new_files)
        self.mail = Mail(world.database, world.clock)
        self.notified: list[tuple[str, str]] = []
        self.lines = PlayerLines(world.accounts, world.realtime, self.mail, self._notify)

    async def _notify(self, user_id: int, name: str, text: str) -> None:
        self.notified.append((name, text))

    def nominator(self, name: str, priv: int = NOMINATOR) -> Actor:
        """Register a nominator."""
        return Actor(self.world.add_player(a_player(name, priv=priv)), "game")

    def player(self, name: str) -> int:
        """Register a player."""
        return self.world.add_player(a_player(name))

    def pending(self, *songs: NewMap) -> list[Beatmap]:
        """Import pending maps."""
        return [self.world.add_map(song, MapStatus.PENDING) for song in songs]

    def statuses(self, set_id: int = 1) -> dict[int, int]:
        """Return the statuses of the current maps of a set."""
        return {row[0]: row[1] for row in self._rows(maps.c.id, maps.c.status, set_id=set_id)}

    def _rows(self, *columns: Column[Any], set_id: int) -> Sequence[tuple[int, ...]]:
        return self.world.look(select(*columns).where(maps.c.set_id == set_id, maps.c.current == 1))

    def requested(self) -> list[tuple[int, int]]:
        """Return the open requests: player and set."""
        return sorted(self.world.look(select(map_requests.c.user_id, map_requests.c.set_id)))

    def nominated(self) -> list[tuple[int, int]]:
        """Return the nominations: set and nominator."""
        return sorted(self.world.look(select(nominations.c.set_id, nominations.c.user_id)))

    def qualified(self) -> list[tuple[int, int]]:
        """Return the qualified sets and the times at which they become ranked."""
        return sorted(self.world.look(select(qualified_sets.c.set_id, qualified_sets.c.ranks_at_ms)))

    def add_webhook(self) -> None:
        """Add a webhook for statuses of maps, which nobody delivers."""
        self.world.change(
            webhooks.insert().values(
                url="https://hooks.example",
                format="json",
                events=bits_of(["map_status"]),
                secret=b"x",
                created_at_ms=1,
            )
        )

    def deliveries(self) -> list[dict[str, object]]:
        """Return the data of the messages that wait for the webhook."""
        rows = self.world.look(select(webhook_deliveries.c.data).order_by(webhook_deliveries.c.id))
        return [json.loads(row[0]) for row in rows]

    def letters(self) -> list[tuple[int, str]]:
        """Return the stored mail: recipient and text."""
        return sorted(self.world.look(select(mail.c.to_id, mail.c.text)))

    def acts(self, map_id: int = 1) -> list[tuple[str, int, str, str]]:
        """Return the audit rows about a map, oldest first: action, actor, source, reason."""
        rows = reversed(self.world.audit(map_id, "beatmap"))
        return [(row.action, row.actor_id, row.source, row.reason) for row in rows]
