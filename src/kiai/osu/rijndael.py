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
    row = _COLUMNS * blocks
    size = BLOCK * blocks
    keys = _round_keys(key)
    spread = bytearray(len(keys) * blocks)  # each byte of the round keys once for each block
    for block in range(blocks):
        spread[block::blocks] = keys
    round_keys = [_int(spread[start : start + size]) for start in range(0, len(spread), size)]
    shifts = [(row * at, row * (at + 1), row * (at + 1) - shift * blocks) for at, shift in enumerate(_SHIFTS)]
    by_14, by_11, by_13, by_9 = _TABLES
    state = _int(b"".join([data[place::BLOCK] for place in _PLACES])) ^ round_keys[_ROUNDS]
    for round_key in round_keys[_ROUNDS - 1 : 0 : -1]:
        # PERF: the round keys went through InvMixColumns before (the "equivalent inverse cipher" of FIPS 197), so that
        # one table holds both the S-box and a factor. A form of 12 blocks takes 70 us; one block after another took
        # 720 us.
        shifted = _shifted(state.to_bytes(size, "little"), shifts)
        second, third, fourth = shifted.translate(by_11), shifted.translate(by_13), shifted.translate(by_9)
        state = (
            _int(shifted.translate(by_14))
            ^ _int(second[row:] + second[:row])
            ^ _int(third[2 * row :] + third[: 2 * row])
            ^ _int(fourth[3 * row :] + fourth[: 3 * row])
            ^ round_key
        )
    last = _shifted(state.to_bytes(size, "little"), shifts).translate(_INVERSE)
    plain = (_int(last) ^ round_keys[0]).to_bytes(size, "little")
    ordered = bytearray(size)
    for at, place in enumerate(_PLACES):
        ordered[place::BLOCK] = plain[at * blocks : (at + 1) * blocks]
    return bytes(ordered)


def _shifted(state: bytes, shifts: list[tuple[int, int, int]]) -> bytes:
    """Apply InvShiftRows. `shifts` has for each row its start, its end, and where its last columns begin."""
    return b"".join([state[cut:end] + state[start:cut] for start, end, cut in shifts])


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
