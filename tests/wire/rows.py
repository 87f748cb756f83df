"""Rows that say so: a data folder's database, written to directly."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Table, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from tests import stores

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
    """Unix milliseconds of a time as the API writes it."""
    return int(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp()) * 1000


class Rows:
    """Writes rows, in place of those with the same key, of a server that runs or not."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._engine = stores.engine(data)

    def close(self) -> None:
        """Lets go of the file."""
        self._engine.dispose()

    def put(self, table: Table, *rows: dict[str, Any]) -> None:
        """Writes whole rows."""
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
        """An account that everybody sees, unless `priv` says otherwise."""
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
        """How many accounts are counted."""
        with self._engine.begin() as connection:
            connection.execute(update(counters).where(counters.c.name == "users").values(value=total))

    def profile(self, user_id: int, mode: int, country: str = "xx", **values: Any) -> None:
        """A player's totals in one mode."""
        self.put(stats, {"user_id": user_id, "mode": mode, "country": country} | values)

    def api_key(self, user_id: int, key: str, **values: Any) -> str:
        """A key of the player."""
        row = {"user_id": user_id, "hash": hashlib.sha256(key.encode()).digest(), "created_at_ms": 0}
        self.put(api_keys, row | values)
        return key

    def clan(self, id: int, name: str, tag: str, owner_id: int) -> None:  # noqa: A002
        """A clan; who is in it is said by its members' rows."""
        row = {"id": id, "name": name, "safe_name": name.lower().replace(" ", "_"), "tag": tag, "owner_id": owner_id}
        self.put(clans, row | {"created_at_ms": 1_600_000_000_000})

    def map(self, shown: dict[str, Any], **values: Any) -> None:
        """A map from the object that the API shows of it; its row's key is its id."""
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
        """A score from the object that the API shows of it. Status 2 is a best in every respect."""
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

    def tell_rank(self, user_id: int) -> None:
        """Leaves word for a server that runs that the player's rank may have changed."""
        self.put(outbox, {"at_ms": 0, "kind": "ranks", "payload": str(user_id)})

    def all_is_delivered(self) -> bool:
        """Whether a server that runs has passed on what changed before it started."""
        with self._engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(outbox)).scalar() == 0

    def played(self, user_id: int, mode: int, map_key: int, plays: int, last_play_ms: int = 0) -> None:
        """How often a player played a map."""
        row = {"user_id": user_id, "mode": mode, "map_key": map_key, "plays": plays, "last_play_ms": last_play_ms}
        self.put(play_counts, row)

    def replay(self, score_id: int, frames: bytes) -> Path:
        """A score's replay, with its file: where that lies."""
        md5 = hashlib.md5(frames)
        file = self.data / "files" / "replays" / md5.hexdigest()[:2] / md5.hexdigest()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(frames)
        row = {"md5": md5.digest(), "sha256": hashlib.sha256(frames).digest(), "size": len(frames)}
        self.put(replays, row | {"score_id": score_id})
        return file
