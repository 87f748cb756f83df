"""Decrypts and parses the form in which the game sends a play (docs/spec/submission.md).

    parts -> by shape: texts, replay -> base64 -> Rijndael-256 CBC -> strict PKCS#7 -> UTF-8 -> tokens -> Submission

Every malformed form raises `Refused`, and the client gets the same answer for all of them. A different answer for wrong
padding would be a padding oracle.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

import msgspec

from kiai.errors import Refused
from kiai.faces.forms import Form
from kiai.faces.request_body import BodyTooLarge
from kiai.osu.accuracy import HitCounts
from kiai.osu.grades import GRADES
from kiai.osu.rijndael import BLOCK, decrypt_cbc
from kiai.scores.submission import GAME, Submission

KEY: Final = "osu!-scoreburgr---------"
OLD_KEY: Final = b"h89f2-890h2h89b34g-h80g134n90133"
SCORE_MAX: Final = 48 * 1024
TEXT_MAX: Final = 8 * 1024
REPLAY_MAX: Final = 10 * 1024 * 1024
IMAGE_MAX: Final = 4 * 1024 * 1024
CIPHER_MAX: Final = 36 * 1024
ON_THE_LOOP_MAX: Final = 2 * 1024  # bytes of cipher text that are decrypted without a thread: 64 blocks, 0.4 ms
REPLAY_MIN: Final = 24  # a shorter LZMA stream contains no frame
TOKENS_MIN: Final = 18
U16: Final = 65_535
I32: Final = 2**31 - 1
IGNORED_FLAGS: Final = 4  # honest clients set it (docs/spec/submission.md#client-flags)
TOKEN_KEPT: Final = 255

_VERSION: Final = re.compile(r"[0-9]{8}", re.ASCII)
_MD5: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_SIGNED: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_TIME: Final = re.compile(r"[0-9]{12}", re.ASCII)
_BOOLEANS: Final = {"True": True, "False": False}
_QUITS: Final = {"0": False, "1": True, "false": False, "true": True, "False": False, "True": True}


class DecryptedForm(msgspec.Struct, frozen=True):
    """The decrypted parts: the score string and the client hashes. `texts` and `replay` are those of `form`."""

    plain: str
    client_hash: str
    form: Form | None = None
    texts: dict[str, str] = {}
    replay: bytes = b""

    @property
    def player_name(self) -> str:
        """The name in the score string, which the password has still to confirm. Raises Refused for too few parts."""
        tokens = self.plain.split(":")
        if len(tokens) < TOKENS_MIN:
            raise Refused("tokens")
        return tokens[1].removesuffix(" ")  # a supporter's client appends a space


def can_decrypt(form: Form, *, old: bool = False) -> bool:
    """Return whether the form has all parts that `decrypt_form` and a check of the password need.

    The replay may still be missing.
    """
    texts = {part.name for part in form.parts if part.filename is None}
    return texts.issuperset(("score", "iv", "s", "pass") if old else ("score", "iv", "s", "pass", "osuver"))


async def decrypt_form(
    form: Form, *, old: bool = False, turn: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
) -> DecryptedForm:
    """Decrypt the score string and the client hashes. `old` is for the endpoint of builds without `osuver`.

    `turn` is entered for a long form, which takes a thread up to 10 ms. Raises Refused for a malformed form and
    BodyTooLarge for a part that is too large.
    """
    texts, replay = _parts(form)
    version = texts.get("osuver", "")
    if not old and not _VERSION.fullmatch(version):
        raise Refused("version")
    key = OLD_KEY if old else (KEY + version).encode()
    iv = _decoded(texts.get("iv"))
    if len(iv) != BLOCK:
        raise Refused("iv")
    score, client = _cipher(texts.get("score")), _cipher(texts.get("s"))
    # PERF: all blocks are decrypted together: 80 us for the 12 blocks of a usual form. A thread is worth 50 us.
    if len(score) + len(client) <= ON_THE_LOOP_MAX:
        plain, client_hash = _decrypted(key, iv, score, client)
    else:
        async with turn():
            plain, client_hash = await asyncio.to_thread(_decrypted, key, iv, score, client)
    return DecryptedForm(plain, client_hash, form, texts, replay)


def read_submission(form: Form, decrypted: DecryptedForm, *, user_agent: str = GAME) -> Submission:
    """Return the play in a complete form.

    Raises Refused for a malformed form and BodyTooLarge for a part that is too large.
    """
    # PERF: a form that came with one packet is complete when it is decrypted. The parts are the same objects.
    texts, replay = (decrypted.texts, decrypted.replay) if form == decrypted.form else _parts(form)
    version = texts.get("osuver", "")
    return _read(decrypted.plain, decrypted.client_hash, texts, replay, version, user_agent)


def _parts(form: Form) -> tuple[dict[str, str], bytes]:
    """Return the text parts by name and the replay.

    Two parts are called `score`. The one with a file name is the replay, or the second one if that does not decide.
    """
    scores = [part for part in form.parts if part.name == "score"]
    if not 1 <= len(scores) <= 2:
        raise Refused("score parts")
    files = [part for part in scores if part.filename is not None]
    if len(scores) == 2 and len(files) != 1:
        files = scores[1:]
    replay = files[0].data if files else b""
    if len(replay) > REPLAY_MAX:
        raise BodyTooLarge
    texts: dict[str, str] = {}
    for part in form.parts:
        if part in files:
            continue
        if part.name == "i":
            if len(part.data) > IMAGE_MAX:
                raise BodyTooLarge
            texts["i"] = "sent" if part.data else ""  # only its presence matters; the picture is not stored
            continue
        if len(part.data) > (SCORE_MAX if part.name == "score" else TEXT_MAX):
            raise BodyTooLarge
        # The first of several parts counts, as in `Form.text`, which reads the password.
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


def _decrypted(key: bytes, iv: bytes, score: bytes, client: bytes) -> tuple[str, str]:
    plain, client_hash = decrypt_cbc(key, iv, [score, client])
    return _text(plain), _text(client_hash)


def _text(padded: bytes) -> str:
    """Return the text without its PKCS#7 padding: 1 to 32 bytes, each with their number as its value."""
    count = padded[-1]
    if not 1 <= count <= BLOCK or padded[-count:] != bytes([count]) * count:
        raise Refused("padding")
    try:
        return str(padded[:-count], "utf-8")
    except UnicodeDecodeError:
        raise Refused("plain text") from None


def _read(
    plain: str, client_hash: str, texts: dict[str, str], replay: bytes, version: str, user_agent: str
) -> Submission:
    tokens = plain.split(":")
    if len(tokens) < TOKENS_MIN:
        raise Refused("tokens")
    name = tokens[1].removesuffix(" ")
    grade = tokens[12]
    if grade not in GRADES or not _TIME.fullmatch(tokens[16]):
        raise Refused("token")
    n300, n100, n50, ngeki, nkatu, nmiss = (_number(token, U16) for token in tokens[3:9])
    passed = _boolean(tokens[14])
    # The client hides its flags in the number of spaces behind its version.
    flags = len(tokens[17]) - len(tokens[17].rstrip(" "))
    unique = texts.get("c1", "").partition("|")
    return Submission(
        beatmap_md5=_md5(tokens[0]),
        player_name=name,
        checksum=bytes.fromhex(_md5(tokens[2])),
        counts=HitCounts(n300, n100, n50, ngeki, nkatu, nmiss),
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
        replay=replay if passed and len(replay) >= REPLAY_MIN else b"",  # clients send one with a fail, too
        image_sent=bool(texts.get("i")),
        user_agent=user_agent,
    )


def _md5(text: str) -> str:
    if not _MD5.fullmatch(text):
        raise Refused("md5")
    return text


def _number(text: str, maximum: int) -> int:
    # int() also accepts signs, spaces, underscores and other digits, which no client sends.
    if not _NUMBER.fullmatch(text) or int(text) > maximum:
        raise Refused("number")
    return int(text)


def _boolean(text: str) -> bool:
    if text not in _BOOLEANS:
        raise Refused("boolean")
    return _BOOLEANS[text]


def _milliseconds(text: str) -> int:
    """Return a time in ms, clamped to 0 ... 2**31 - 1. Raises Refused for a text that is not an integer."""
    if not _SIGNED.fullmatch(text):
        raise Refused("time")
    return min(max(int(text), 0), I32)
