"""Writes test rows directly into the database of a data folder."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Table, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from tests import stores

from kiai.beatmaps.model import osu_key
from kiai.beatmaps.words import words_of
from kiai.storage.tables import (
    api_keys,
    clans,
    counters,
    map_words,
    maps,
    outbox,
    play_counts,
    replays,
    scores,
    sets,
    stats,
    users,
)

insert: Final = postgresql.insert if stores.SHARED else sqlite.insert
NORMAL: Final = 3  # unrestricted and verified
RESTRICTED: Final = 2


def ms(utc: str) -> int:
    """Return the Unix milliseconds of a time in the API's format."""
    return int(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp()) * 1000


class Rows:
    """Writes rows and replaces those with the same key. The server may be running."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._engine = stores.engine(data)

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def look(self, table: Table) -> Sequence[Any]:
        """Return all rows of a table."""
        with self._engine.connect() as connection:
            return connection.execute(table.select()).all()

    def put(self, table: Table, *rows: dict[str, Any]) -> None:
        """Write complete rows."""
        key = [column.name for column in table.primary_key]
        with self._engine.begin() as connection:
            if stores.SHARED:
                connection.execute(text("SET session_replication_role = replica"))  # rows come in any order
            for row in rows:
                written = insert(table).values(row)
                others = {column.name: written.excluded[column.name] for column in table.c if column.name not in key}
                connection.execute(
                    written.on_conflict_do_update(index_elements=key, set_=others or {key[0]: row[key[0]]})
                )
            if stores.SHARED and table.autoincrement_column is not None:
                name, column = table.name, table.autoincrement_column.name
                connection.execute(
                    text(f"SELECT setval(pg_get_serial_sequence('{name}', '{column}'), max({column})) FROM {name}")
                )

    def player(self, id: int, name: str, **values: Any) -> None:  # noqa: A002
        """Write an account, which is visible unless `priv` says otherwise."""
        row = {
            "id": id,
            "name": name,
            "safe_name": name.lower().replace(" ", "_"),
            "email": f"{id}@example.org",
            "priv": NORMAL,
            "country": "xx",
            "created_at_ms": 1_600_000_000_000,
            "active_at_ms": 1_650_000_000_000,
        }
        self.put(users, row | values)

    def registered(self, total: int) -> None:
        """Write the number of registered accounts."""
        with self._engine.begin() as connection:
            connection.execute(update(counters).where(counters.c.name == "users").values(value=total))

    def profile(self, user_id: int, mode: int, country: str = "xx", **values: Any) -> None:
        """Write a player's totals in one mode."""
        self.put(stats, {"user_id": user_id, "mode": mode, "country": country} | values)

    def api_key(self, user_id: int, key: str, **values: Any) -> str:
        """Write an API key of the player."""
        row = {"user_id": user_id, "hash": hashlib.sha256(key.encode()).digest(), "created_at_ms": 0}
        self.put(api_keys, row | values)
        return key

    def clan(self, id: int, name: str, tag: str, owner_id: int) -> None:  # noqa: A002
        """Write a clan. The rows of its members refer to it."""
        row = {"id": id, "name": name, "safe_name": name.lower().replace(" ", "_"), "tag": tag, "owner_id": owner_id}
        self.put(clans, row | {"created_at_ms": 1_600_000_000_000})

    def map(self, shown: dict[str, Any], **values: Any) -> None:
        """Write a map from its object in the API. The key of the row is the map id."""
        row = {
            "hit_length": shown["total_length"],
            "objects": 100,
            "filename": f"{shown['id']}.osu",
            "key": shown["id"],
        }
        row |= {name: value for name, value in shown.items() if name != "last_update"}
        row["last_update_ms"] = ms(shown["last_update"])
        added = {"id": shown["set_id"], "added_at_ms": 0, "last_update_ms": 0}
        self.put(sets, added | {name: shown[name] for name in ("artist", "title", "creator")})
        row |= values
        self.put(maps, row)
        words = words_of(*(row[name] for name in ("artist", "title", "version", "creator")))
        self.put(map_words, *({"word": word, "map_key": row["key"]} for word in words))

    def score(self, id: int, user_id: int, map_key: int, shown: dict[str, Any], **values: Any) -> None:  # noqa: A002
        """Write a score from its object in the API. Status 2 is the best by score, by pp and by mods."""
        best = int(shown["status"] == 2)
        taken = (
            "score pp acc max_combo mods n300 n100 n50 nmiss ngeki nkatu grade mode time_elapsed perfect".split()  # noqa: SIM905
        )
        row = {name: shown[name] for name in taken} | {
            "id": id,
            "user_id": user_id,
            "map_key": map_key,
            "mods_key": shown["mods"],
            "passed": int(shown["status"] > 0),
            "best_pp": best,
            "best_score": best,
            "best_mods": best,
            "play_time_ms": ms(shown["play_time"]),
            "checksum": hashlib.md5(f"score {id}".encode()).digest(),
        }
        self.put(scores, row | values)

    def queue_rank_update(self, user_id: int) -> None:
        """Write an outbox row, so that a running server reads the player's rank again."""
        self.put(outbox, {"at_ms": 0, "kind": "ranks", "payload": str(user_id)})

    def is_outbox_empty(self) -> bool:
        """Return whether a running server has delivered the outbox."""
        with self._engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(outbox)).scalar() == 0

    def played(self, user_id: int, mode: int, map_key: int, plays: int, last_play_ms: int = 0) -> None:
        """Write the number of a player's plays of a map."""
        row = {"user_id": user_id, "mode": mode, "map_key": map_key, "plays": plays, "last_play_ms": last_play_ms}
        self.put(play_counts, row)

    def osu_file(self, map_id: int, text: str) -> None:
        """Store a beatmap file for a map that `map` has written. Its md5 remains that of the row."""
        file = self.data / "files" / osu_key(f"{map_id:032x}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")

    def replay(self, score_id: int, frames: bytes) -> Path:
        """Write the replay of a score with its file, and return the path of the file."""
        md5 = hashlib.md5(frames)
        file = self.data / "files" / "replays" / md5.hexdigest()[:2] / md5.hexdigest()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(frames)
        row = {"md5": md5.digest(), "sha256": hashlib.sha256(frames).digest(), "size": len(frames)}
        self.put(replays, row | {"score_id": score_id})
        return file
