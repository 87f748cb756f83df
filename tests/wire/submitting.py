"""A game client that submits plays: an independent encoder (docs/spec/submission.md), and test vectors."""

import asyncio
import base64
import hashlib
import itertools
import json
import lzma
import random
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from py3rijndael import Pkcs7Padding, RijndaelCbc
from sqlalchemy import bindparam, update
from tests import stores
from tests.builders import a_map
from tests.wire.kit import Reply, Server

from kiai.app import open_services
from kiai.beatmaps import osu_key
from kiai.osu.names import safe_name
from kiai.settings import load_settings
from kiai.storage.port import Command, Transaction
from kiai.storage.tables import maps, users

VECTORS: Final = json.loads(
    (Path(__file__).parents[1] / "faces" / "client" / "submission_vectors.json").read_text("utf-8")
)
SUBMISSIONS: Final = {one["name"]: one for one in VECTORS["submissions"]}
SUBMIT: Final = "/web/osu-submit-modular-selector.php"
OSU: Final = "osu.localhost"
PASSWORD: Final = "correct horse 7"
BUILD: Final = "20260711"
CLIENT_HASH: Final = SUBMISSIONS["osu_pass_nomod"]["client_hash_plain"]
UNIQUE_IDS: Final = (
    SUBMISSIONS["osu_pass_nomod"]["unique_id_1"],
    SUBMISSIONS["osu_pass_nomod"]["unique_id_2"],
)

_serial = itertools.count(1)
_NAME = Command(
    update(users)
    .where(users.c.id == bindparam("user_id"))
    .values(name=bindparam("new_name"), safe_name=bindparam("new_safe_name"))
)
_RENAME = Command(update(maps).where(maps.c.id == bindparam("map_id")).values(md5=bindparam("new_md5")))


def prepare(data: Path, names: list[str], vector_maps: bool = True, database: str | None = None) -> dict[str, int]:
    """Create a data folder with these players (all with `PASSWORD`) and the maps of the vectors. Return ids by name.

    The vectors use md5s that no file has, so generated maps are stored under these md5s.
    """

    settings = load_settings(data=data, database=database) if database else stores.settings(data)

    async def scenario() -> dict[str, int]:
        async with open_services(settings) as services:
            ids = {}
            for name in names:
                number = next(_serial)
                ids[name] = user_id = await services.accounts.register(
                    name=name if name.isascii() else f"player {number}",
                    email=f"p{number}@example.org",
                    password=PASSWORD,
                    priv=3,
                    country="nl",
                )
                if not name.isascii():  # possible in imported accounts; registration refuses it

                    async def rename(tx: Transaction, user_id: int = user_id, name: str = name) -> None:
                        await tx.run(_NAME, user_id=user_id, new_name=name, new_safe_name=safe_name(name))

                    await services.database.transaction(rename)
            if not vector_maps:
                return ids
            seen: dict[str, int] = {}
            for one in SUBMISSIONS.values():
                seen.setdefault(one["parsed"]["beatmap_md5"], one["parsed"]["mode"])
            for number, (md5, mode) in enumerate(seen.items(), start=1):
                made = a_map(700 + number, mode=mode, objects=108)
                await services.importer.import_file(made.data, name="map", status=None)
                await services.files.put(osu_key(md5), made.data)

                async def body(tx: Transaction, number: int = number, md5: str = md5) -> None:
                    await tx.run(_RENAME, map_id=700 + number, new_md5=md5)

                await services.database.transaction(body)
            return ids

    return asyncio.run(scenario())


def multipart(parts: list[tuple[str, str | None, bytes]]) -> tuple[bytes, str]:
    """Return a body and its content type, as a .NET client writes them. Parts are (name, file name, data)."""
    boundary = "-------------------------------28947758029299"
    body = b""
    for name, filename, data in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
        kind = "\r\nContent-Type: application/octet-stream" if filename is not None else ""
        body += f"--{boundary}\r\nContent-Disposition: {disposition}{kind}\r\n\r\n".encode() + data + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def of_vector(one: dict[str, Any]) -> list[tuple[str, str | None, bytes]]:
    """Return the parts of a vector in order."""
    parts: list[tuple[str, str | None, bytes]] = [
        (name, None, text.encode()) for name, text in one["form_text_parts_in_order"]
    ]
    return [*parts, ("score", "replay", base64.b64decode(one["replay_file_part"]["content_base64"]))]


def frames(count: int = 150, seed: int | None = None) -> bytes:
    """Return a new replay with this number of frames, compressed as in the game."""
    chance = random.Random(next(_serial) if seed is None else seed)
    moves = (
        f"{chance.randint(8, 20)}|{chance.random() * 512:.3f}|{chance.random() * 384:.3f}|{chance.choice((0, 1, 5))},"
        for _ in range(count)
    )
    text = "0|256|-500|0,-1|256|-500|0," + "".join(moves)
    return lzma.compress(
        (text + "-12345|0|0|0,").encode(),
        format=lzma.FORMAT_ALONE,
        filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 21, "lc": 3, "lp": 0, "pb": 2}],
    )


class Played(msgspec.Struct, frozen=True):
    """A play, with a default for each field that does not matter to a test."""

    md5: str
    name: str = "alice"
    n300: int = 100
    n100: int = 0
    n50: int = 0
    ngeki: int = 0
    nkatu: int = 0
    nmiss: int = 0
    score: int = 100_000
    combo: int = 100
    perfect: bool = False
    grade: str = "X"
    mods: int = 0
    passed: bool = True
    mode: int = 0
    at: str = ""
    version: str = BUILD
    flags: int = 0
    quit: bool = False
    seconds: int = 50
    password: str = PASSWORD
    replay: bytes | None = None
    client_hash: str = CLIENT_HASH
    on_disk: str | None = None
    spoil_checksum: bool = False
    iv: bytes = b""

    def sealed(self) -> "Played":
        """Return the play with fixed time, replay and IV, so that two submissions of it are the same play."""
        return msgspec.structs.replace(
            self,
            at=self.at or time.strftime("%y%m%d%H%M%S", time.gmtime()),
            replay=(frames() if self.passed else b"") if self.replay is None else self.replay,
            iv=self.iv or secrets.token_bytes(32),
        )

    @property
    def checksum(self) -> str:
        """The checksum of a sealed play."""
        one = self
        text = (
            f"chickenmcnuggets{one.n100 + one.n300}o15{one.n50}{one.ngeki}smustard{one.nkatu}{one.nmiss}uu{one.md5}"
            f"{one.combo}{one.perfect}{one.name}{one.score}{one.grade}{one.mods}Q{one.passed}{one.mode}{one.version}"
            f"{one.at}{one.client_hash}"
        )
        md5 = hashlib.md5(text.encode()).hexdigest()
        return ("0" if md5[0] != "0" else "1") + md5[1:] if one.spoil_checksum else md5

    def parts(self) -> list[tuple[str, str | None, bytes]]:
        """Return the parts of the form."""
        one = self.sealed()
        tokens = (
            one.md5,
            one.name,
            one.checksum,
            *(one.n300, one.n100, one.n50, one.ngeki, one.nkatu, one.nmiss),
            *(one.score, one.combo, one.perfect, one.grade, one.mods, one.passed, one.mode, one.at),
            one.version + " " * one.flags,
            26_685_362,
        )
        elapsed = one.seconds * 1000
        return [
            ("x", None, b"1" if one.quit else b"0"),
            ("ft", None, str(0 if one.passed else elapsed).encode()),
            ("score", None, one.encrypted(":".join(map(str, tokens)))),
            ("fs", None, one.encrypted("0:False:False:False:0")),
            ("bmk", None, (one.md5 if one.on_disk is None else one.on_disk).encode()),
            ("iv", None, base64.b64encode(one.iv)),
            ("c1", None, "|".join(UNIQUE_IDS).encode()),
            ("st", None, str(elapsed if one.passed else 0).encode()),
            ("pass", None, hashlib.md5(one.password.encode()).hexdigest().encode()),
            ("osuver", None, one.version.encode()),
            ("s", None, one.encrypted(one.client_hash)),
            ("i", None, b""),
            ("score", "replay", one.replay or b""),
        ]

    def encrypted(self, text: str) -> bytes:
        """Return a text encrypted with the key and IV of the play, as base64."""
        key = f"osu!-scoreburgr---------{self.version}".encode()
        return base64.b64encode(RijndaelCbc(key, self.iv, Pkcs7Padding(32), 32).encrypt(text.encode()))


def log_in(server: Server, name: str, *, password: str = PASSWORD, client_hash: str = CLIENT_HASH) -> str:
    """Log in and return the token."""
    token = try_to_log_in(server, name, password=password, client_hash=client_hash)
    assert token is not None
    return token


def try_to_log_in(server: Server, name: str, *, password: str = PASSWORD, client_hash: str = CLIENT_HASH) -> str | None:
    """Log in and return the token, or None if the server refuses because the last session is only a moment old."""
    body = f"{name}\n{password_md5(password)}\nb{BUILD}|0|0|{client_hash}|0\n".encode()
    reply = server.ask("POST", "/", host="c.localhost", headers={"User-Agent": "osu!"}, body=body)
    token = reply.headers.get("cho-token", "")
    return token if len(token) == 36 else None


def poll(server: Server, token: str, body: bytes = b"") -> bytes:
    """Send one poll and return the packets of the answer."""
    headers = {"User-Agent": "osu!", "osu-token": token}
    return server.ask("POST", "/", host="c.localhost", headers=headers, body=body).body


@contextmanager
def polled(server: Server, tokens: Iterable[str], every_s: float = 1.0) -> Iterator[dict[str, bytearray]]:
    """Poll sessions in a thread, as game clients do. Yield the packets that each has received so far.

    The server may be restarted meanwhile.
    """
    received = {token: bytearray() for token in tokens}
    ended = threading.Event()

    def poll_all() -> None:
        while not ended.is_set():
            for token, packets in received.items():
                with suppress(OSError, HTTPException):
                    packets += poll(server, token)
            ended.wait(every_s)

    with ThreadPoolExecutor(1) as pool:
        polls = pool.submit(poll_all)
        try:
            yield received
        finally:
            ended.set()
            polls.result()


def submit(server: Server, what: Played | list[tuple[str, str | None, bytes]], path: str = SUBMIT) -> Reply:
    """Submit a play and return the answer."""
    body, kind = multipart(what.parts() if isinstance(what, Played) else what)
    headers = {"User-Agent": "osu!", "Content-Type": kind, "Token": "opaque"}
    return server.ask("POST", path, host=OSU, headers=headers, body=body)


def web(server: Server, path: str, **query: object) -> Reply:
    """Send a GET request to a web endpoint."""
    return server.ask("GET", f"{path}?{urlencode(query)}", host=OSU, headers={"User-Agent": "osu!"})


def password_md5(password: str = PASSWORD) -> str:
    """Return the md5 that the client sends for a password."""
    return hashlib.md5(password.encode()).hexdigest()


def read_rows(server: Server, sql: str, *params: object) -> list[Any]:
    """Return rows from the database of a running server."""
    marked = sql.replace("?", "%s") if stores.SHARED else sql
    with stores.engine(server.data).connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(marked, params)]
