from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from py3rijndael import Pkcs7Padding, RijndaelCbc
from py3rijndael.paddings import PaddingBase

from kiai.osu.rijndael import BLOCK, decrypt_cbc

blocks = st.binary(min_size=BLOCK, max_size=BLOCK)


class _Unpadded(PaddingBase):  # type: ignore[misc]
    def decode(self, source: Any) -> Any:
        return source


@given(key=blocks, iv=blocks, texts=st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_texts_are_those_that_the_other_implementation_encrypted(key: bytes, iv: bytes, texts: list[bytes]) -> None:
    padding = Pkcs7Padding(BLOCK)
    encrypted = [RijndaelCbc(key, iv, padding, BLOCK).encrypt(text) for text in texts]

    assert decrypt_cbc(key, iv, encrypted) == [padding.encode(text) for text in texts]


@given(key=blocks, iv=blocks, data=st.integers(1, 5).flatmap(lambda n: st.binary(min_size=n * 32, max_size=n * 32)))
def test_any_blocks_decrypt_as_in_the_other_implementation(key: bytes, iv: bytes, data: bytes) -> None:
    assert decrypt_cbc(key, iv, [data]) == [RijndaelCbc(key, iv, _Unpadded(BLOCK), BLOCK).decrypt(data)]


def test_a_long_text_is_decrypted() -> None:
    key, iv = bytes(range(32)), bytes(range(32, 64))
    text = bytes(at * at % 251 for at in range(9_000))

    [plain] = decrypt_cbc(key, iv, [RijndaelCbc(key, iv, Pkcs7Padding(BLOCK), BLOCK).encrypt(text)])

    assert plain[: len(text)] == text


@pytest.mark.parametrize(
    ("key", "iv", "text"),
    [(31, 32, 32), (33, 32, 32), (32, 16, 32), (32, 33, 32), (32, 32, 0), (32, 32, 31), (32, 32, 48)],
)
def test_other_lengths_are_refused(key: int, iv: int, text: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        decrypt_cbc(bytes(key), bytes(iv), [bytes(32), bytes(text)])
