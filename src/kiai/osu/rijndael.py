"""Rijndael decryption with blocks of 256 bits, the cipher of submissions (docs/spec/submission.md#cipher).

AES is Rijndael with blocks of 128 bits, so no library for AES can be used. In CBC mode each block can be decrypted
without the others. All blocks therefore go through a round together: `bytes.translate` looks up a byte of every block,
and one XOR of two large integers covers every block.

The state has four rows of eight columns. It is one `bytes` object in the order row, column, block.
"""

import itertools
from functools import lru_cache
from typing import Final

BLOCK: Final = 32
"""Bytes of a block, of the key and of the initialisation vector."""

_ROUNDS: Final = 14
_ROWS: Final = 4
_COLUMNS: Final = 8
_SPREAD_MAX: Final = 64  # blocks: a usual form has 12
_SPREADS_CACHED: Final = 32  # at most 31 KB each
_KEYS_CACHED: Final = 8  # each build of the game has a key; a key takes 480 bytes and 90 us
# Decryption moves the bytes of each row to the right by this number of columns.
_SHIFTS: Final = (0, 1, 3, 4)
# InvMixColumns: byte `row` of a column becomes the sum of 14 times itself, 11 times the next byte, and so on.
_FACTORS: Final = (14, 11, 13, 9)


def decrypt_cbc(key: bytes, iv: bytes, texts: list[bytes]) -> list[bytes]:
    """Decrypt texts that share a key and an initialisation vector, both of 32 bytes. The padding stays.

    Raises ValueError for a key, a vector or a text of another length; a text has one or more blocks.
    """
    if len(key) != BLOCK or len(iv) != BLOCK or any(not text or len(text) % BLOCK for text in texts):
        raise ValueError("the key, the vector and the blocks have 32 bytes")
    joined = b"".join(texts)
    previous = b"".join(iv + text[:-BLOCK] for text in texts)
    plain = (_int(_decrypted(key, joined)) ^ _int(previous)).to_bytes(len(joined), "little")
    ends = list(itertools.accumulate(map(len, texts), initial=0))
    return [plain[start:end] for start, end in itertools.pairwise(ends)]


def _decrypted(key: bytes, data: bytes) -> bytes:
    """Return each block decrypted by itself."""
    blocks = len(data) // BLOCK
    size = BLOCK * blocks
    round_keys = (_spread if blocks <= _SPREAD_MAX else _spread.__wrapped__)(key, blocks)
    # The start of each row, and where the columns begin that InvShiftRows moves to its start.
    row1, row2, row3 = (_COLUMNS * blocks * at for at in range(1, _ROWS))
    cut1, cut2, cut3 = row2 - _SHIFTS[1] * blocks, row3 - _SHIFTS[2] * blocks, size - _SHIFTS[3] * blocks
    by_14, by_11, by_13, by_9 = _TABLES
    from_bytes, join = int.from_bytes, b"".join  # PERF: without a call of `_int`, here and below
    state = _int(b"".join([data[place::BLOCK] for place in _PLACES])) ^ round_keys[_ROUNDS]
    for round_key in round_keys[_ROUNDS - 1 : 0 : -1]:
        # PERF: the round keys went through InvMixColumns before (the "equivalent inverse cipher" of FIPS 197), so that
        # one table holds both the S-box and a factor. The rows move while they are joined: a form of 13 blocks takes
        # 86 us instead of 117. One block after another took 720 us.
        text = state.to_bytes(size, "little")
        first, second = text[:row1], text[cut1:row2] + text[row1:cut1]
        third, fourth = text[cut2:row3] + text[row2:cut2], text[cut3:] + text[row3:cut3]
        state = (
            from_bytes(join((first, second, third, fourth)).translate(by_14), "little")
            ^ from_bytes(join((second, third, fourth, first)).translate(by_11), "little")
            ^ from_bytes(join((third, fourth, first, second)).translate(by_13), "little")
            ^ from_bytes(join((fourth, first, second, third)).translate(by_9), "little")
            ^ round_key
        )
    text = state.to_bytes(size, "little")
    last = join(
        (text[:row1], text[cut1:row2], text[row1:cut1], text[cut2:row3], text[row2:cut2], text[cut3:], text[row3:cut3])
    )
    plain = (_int(last.translate(_INVERSE)) ^ round_keys[0]).to_bytes(size, "little")
    ordered = bytearray(size)
    for at, place in enumerate(_PLACES):
        ordered[place::BLOCK] = plain[at * blocks : (at + 1) * blocks]
    return bytes(ordered)


@lru_cache(maxsize=_SPREADS_CACHED)
def _spread(key: bytes, blocks: int) -> list[int]:
    """Return the keys of the rounds with each of their bytes once for each block."""
    size = BLOCK * blocks
    keys = _round_keys(key)
    spread = bytearray(len(keys) * blocks)
    for block in range(blocks):
        spread[block::blocks] = keys
    return [_int(spread[start : start + size]) for start in range(0, len(spread), size)]


def _int(data: bytes | bytearray) -> int:
    return int.from_bytes(data, "little")


@lru_cache(maxsize=_KEYS_CACHED)
def _round_keys(key: bytes) -> bytes:
    """Return the keys of the rounds in the order of the state, those of the middle rounds after InvMixColumns."""
    words = [key[at : at + _ROWS] for at in range(0, BLOCK, _ROWS)]
    constant = 1
    for at in range(_COLUMNS, _COLUMNS * (_ROUNDS + 1)):
        word = words[-1]
        if at % _COLUMNS == 0:
            word = (word[1:] + word[:1]).translate(_SBOX)
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = _times(constant, 2)
        elif at % _COLUMNS == 4:
            word = word.translate(_SBOX)
        words.append(bytes(a ^ b for a, b in zip(words[at - _COLUMNS], word, strict=True)))
    for at in range(_COLUMNS, _COLUMNS * _ROUNDS):
        # The S-box cancels the inverse one in the tables, which leaves the factor.
        products = [words[at].translate(_SBOX).translate(table) for table in _TABLES]
        words[at] = bytes(
            products[0][row] ^ products[1][(row + 1) % 4] ^ products[2][(row + 2) % 4] ^ products[3][(row + 3) % 4]
            for row in range(_ROWS)
        )
    whole = b"".join(words)
    return b"".join(bytes(whole[start + place] for place in _PLACES) for start in range(0, len(whole), BLOCK))


def _times(a: int, b: int) -> int:
    """Multiply in the field of 256 elements, modulo x^8 + x^4 + x^3 + x + 1."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def _sbox() -> bytes:
    """Return the S-box: the inverse in the field, then an affine map of its bits."""
    box = bytearray(256)
    # 3 generates all elements except 0, and 0xF6 is its inverse.
    power = inverse = 1
    for _ in range(255):
        box[power] = (
            0x63 ^ inverse ^ _rotated(inverse, 1) ^ _rotated(inverse, 2) ^ _rotated(inverse, 3) ^ _rotated(inverse, 4)
        )
        power, inverse = _times(power, 3), _times(inverse, 0xF6)
    box[0] = 0x63
    return bytes(box)


def _rotated(byte: int, by: int) -> int:
    return (byte << by | byte >> 8 - by) & 0xFF


_SBOX: Final = _sbox()
_INVERSE: Final = bytes(_SBOX.index(byte) for byte in range(256))
_TABLES: Final = tuple(bytes(_times(byte, factor) for byte in _INVERSE) for factor in _FACTORS)
# The position in a block of each byte of the state: a block fills the state column by column.
_PLACES: Final = tuple(column * _ROWS + row for row in range(_ROWS) for column in range(_COLUMNS))
