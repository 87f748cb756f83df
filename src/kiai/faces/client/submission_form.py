"""The form in which the game sends a play: multipart and cipher to a `Submission` (docs/spec/submission.md).

    parts -> by shape: texts, replay -> base64 -> Rijndael-256 CBC -> strict PKCS#7 -> UTF-8 -> tokens -> Submission

Pure. Whatever does not fit raises `Refused` without telling what it was: a padding oracle gets one answer for all.
"""

import asyncio
import base64
import binascii
import re
from typing import Final

import msgspec
from py3rijndael import RijndaelCbc
from py3rijndael.paddings import PaddingBase

from kiai.errors import Refused
from kiai.faces.client.door import Form, TooLarge
from kiai.osu.accuracy import Counts
from kiai.osu.grades import GRADES
from kiai.scores.submission import GAME, Submission

BLOCK: Final = 32
KEY: Final = "osu!-scoreburgr---------"
OLD_KEY: Final = b"h89f2-890h2h89b34g-h80g134n90133"
SCORE_MAX: Final = 48 * 1024
TEXT_MAX: Final = 8 * 1024
REPLAY_MAX: Final = 10 * 1024 * 1024
IMAGE_MAX: Final = 4 * 1024 * 1024
CIPHER_MAX: Final = 36 * 1024
ON_THE_LOOP_MAX: Final = 2 * 1024  # bytes of cipher text that are decrypted where they come: 64 blocks, 4 ms
REPLAY_MIN: Final = 24  # a shorter stream holds nothing
TOKENS_MIN: Final = 18
U16: Final = 65_535
I32: Final = 2**31 - 1
IGNORED_FLAGS: Final = 4  # set for reasons that concern no player (docs/spec/submission.md#client-flags)
TOKEN_KEPT: Final = 255

_VERSION: Final = re.compile(r"[0-9]{8}", re.ASCII)
_MD5: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_SIGNED: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_TIME: Final = re.compile(r"[0-9]{12}", re.ASCII)
_BOOLEANS: Final = {"True": True, "False": False}
_QUITS: Final = {"0": False, "1": True, "false": False, "true": True, "False": False, "True": True}


class _Strict(PaddingBase):  # type: ignore[misc]
    """PKCS#7: 1 to 32 bytes that all say how many they are (docs/spec/submission.md#cipher)."""

    def decode(self, source: bytes) -> bytes:
        count = source[-1]
        if not 1 <= count <= BLOCK or source[-count:] != bytes([count]) * count:
            raise Refused("padding")
        return source[:-count]


class Opened(msgspec.Struct, frozen=True):
    """What was under cipher: the play itself, and what names the client."""

    plain: str
    client_hash: str

    @property
    def player_name(self) -> str:
        """Who says to have played. Raises Refused for a text that is no play."""
        tokens = self.plain.split(":")
        if len(tokens) < TOKENS_MIN:
            raise Refused("tokens")
        return tokens[1].removesuffix(" ")


def holds_the_play(form: Form, *, old: bool = False) -> bool:
    """Whether all is there that `open_form` and a check of the password need; a replay may still follow."""
    texts = {part.name for part in form.parts if part.filename is None}
    return texts.issuperset(("score", "iv", "s", "pass") if old else ("score", "iv", "s", "pass", "osuver"))


async def open_form(form: Form, *, old: bool = False) -> Opened:
    """Decrypts the play; `old` is the endpoint of builds without `osuver`. Raises Refused and TooLarge."""
    texts, _ = _parts(form)
    version = texts.get("osuver", "")
    if not old and not _VERSION.fullmatch(version):
        raise Refused("version")
    key = OLD_KEY if old else (KEY + version).encode()
    iv = _decoded(texts.get("iv"))
    if len(iv) != BLOCK:
        raise Refused("iv")
    score, client = _cipher(texts.get("score")), _cipher(texts.get("s"))
    if len(score) + len(client) <= ON_THE_LOOP_MAX:
        return Opened(_plain(key, iv, score), _plain(key, iv, client))
    return await asyncio.to_thread(lambda: Opened(_plain(key, iv, score), _plain(key, iv, client)))


def read_submission(form: Form, opened: Opened, *, user_agent: str = GAME) -> Submission:
    """The play that a whole form tells of. Raises Refused for a form that no client sends, TooLarge for its parts."""
    texts, replay = _parts(form)
    version = texts.get("osuver", "")
    found = _read(opened.plain, opened.client_hash, texts, replay, version)
    return msgspec.structs.replace(found, user_agent=user_agent)


def _parts(form: Form) -> tuple[dict[str, str], bytes]:
    """The text parts by name and the replay. Of the two parts `score` the one with a file name is the replay."""
    scores = [part for part in form.parts if part.name == "score"]
    if not 1 <= len(scores) <= 2:
        raise Refused("score parts")
    files = [part for part in scores if part.filename is not None]
    if len(scores) == 2 and len(files) != 1:
        files = scores[1:]
    replay = files[0].data if files else b""
    if len(replay) > REPLAY_MAX:
        raise TooLarge
    texts: dict[str, str] = {}
    for part in form.parts:
        if part in files:
            continue
        if part.name == "i":
            if len(part.data) > IMAGE_MAX:
                raise TooLarge
            texts["i"] = "sent" if part.data else ""
            continue
        if len(part.data) > (SCORE_MAX if part.name == "score" else TEXT_MAX):
            raise TooLarge
        try:
            texts.setdefault(part.name, part.data.decode())
        except UnicodeDecodeError:
            raise Refused("text") from None
    return texts, replay


def _decoded(text: str | None) -> bytes:
    try:
        return base64.b64decode(text or "", validate=True)
    except (binascii.Error, ValueError):
        raise Refused("base64") from None


def _cipher(text: str | None) -> bytes:
    data = _decoded(text)
    if not data or len(data) % BLOCK or len(data) > CIPHER_MAX:
        raise Refused("cipher text")
    return data


def _plain(key: bytes, iv: bytes, data: bytes) -> str:
    try:
        return str(RijndaelCbc(key, iv, _Strict(BLOCK), BLOCK).decrypt(data), "utf-8")
    except UnicodeDecodeError:
        raise Refused("plain text") from None


def _read(plain: str, client_hash: str, texts: dict[str, str], replay: bytes, version: str) -> Submission:
    tokens = plain.split(":")
    if len(tokens) < TOKENS_MIN:
        raise Refused("tokens")
    name = tokens[1].removesuffix(" ")
    grade = tokens[12]
    if grade not in GRADES or not _TIME.fullmatch(tokens[16]):
        raise Refused("token")
    n300, n100, n50, ngeki, nkatu, nmiss = (_number(token, U16) for token in tokens[3:9])
    passed = _boolean(tokens[14])
    flags = len(tokens[17]) - len(tokens[17].rstrip(" "))
    unique = texts.get("c1", "").partition("|")
    return Submission(
        beatmap_md5=_md5(tokens[0]),
        player_name=name,
        checksum=bytes.fromhex(_md5(tokens[2])),
        counts=Counts(n300, n100, n50, ngeki, nkatu, nmiss),
        score=_number(tokens[9], I32),
        max_combo=_number(tokens[10], U16),
        perfect=_boolean(tokens[11]),
        grade=grade,
        mods=_number(tokens[13], I32),
        passed=passed,
        mode=_number(tokens[15], 3),
        client_time=tokens[16],
        version=version,
        client_flags=flags & ~IGNORED_FLAGS,
        password_md5=texts.get("pass", ""),
        client_hash=client_hash,
        storyboard_md5=texts.get("sbk", ""),
        beatmap_on_disk=texts.get("bmk", ""),
        unique_ids=(unique[0], unique[2]),
        quit=not passed and _QUITS.get(texts.get("x", "0"), False),
        fail_time_ms=_milliseconds(texts.get("ft", "0")),
        play_time_ms=_milliseconds(texts.get("st", "0")),
        replay=replay if passed and len(replay) >= REPLAY_MIN else b"",
        image_sent=bool(texts.get("i")),
    )


def _md5(text: str) -> str:
    if not _MD5.fullmatch(text):
        raise Refused("md5")
    return text


def _number(text: str, most: int) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > most:
        raise Refused("number")
    return int(text)


def _boolean(text: str) -> bool:
    if text not in _BOOLEANS:
        raise Refused("boolean")
    return _BOOLEANS[text]


def _milliseconds(text: str) -> int:
    """A time; what is out of all reason is cut (docs/spec/submission.md#form)."""
    if not _SIGNED.fullmatch(text):
        raise Refused("time")
    return min(max(int(text), 0), I32)
