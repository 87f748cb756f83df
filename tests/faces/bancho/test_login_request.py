"""Valid and invalid login requests (docs/spec/sessions.md#login-request)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.patience import core_seconds

from kiai.faces.bancho.login_request import BadLogin, LoginRequest, read_login

MD5 = "5f4dcc3b5aa765d61d8327deb882cf99"
HASHES = f"{MD5}:0A1B2C3D4E5F.:{MD5}:{MD5}:{MD5}:"


def a_login(
    name: str = "some user",
    password: str = MD5,
    version: str = "b20250415.2",
    offset: str = "2",
    hashes: str = HASHES,
    tail: str = "|0",
) -> bytes:
    return f"{name}\n{password}\n{version}|{offset}|0|{hashes}{tail}\n".encode()


def refusal(body: bytes) -> BadLogin:
    with pytest.raises(BadLogin) as refused:
        read_login(body)
    return refused.value


def test_read_login_decodes_all_fields() -> None:
    request = read_login(a_login(tail="|1"))

    assert request == LoginRequest(
        name="some user",
        password_md5=MD5,
        version="b20250415.2",
        build=20250415,
        stream="stable",
        utc_offset=2,
        shows_city=False,
        client_hashes=HASHES,
        executable=MD5,
        adapters="0A1B2C3D4E5F.",
        adapters_md5=MD5,
        uninstall_md5=MD5,
        disk_md5=MD5,
        friends_only_dms=True,
    )


def test_read_login_accepts_cr_lf_and_ignores_further_fields() -> None:
    assert read_login(a_login(tail="|0|19|more").replace(b"\n", b"\r\n")).name == "some user"


@pytest.mark.parametrize(
    ("offset", "hours"),
    [("2", 2), ("-5", -5), (":", 0), ("99", 24), ("-99", -24), ("abc", 0), ("", 0), ("٣", 0), ("9" * 5_00, 0)],
)
def test_invalid_utc_offset_is_zero_and_large_ones_are_limited(offset: str, hours: int) -> None:
    assert read_login(a_login(offset=offset)).utc_offset == hours


@pytest.mark.parametrize("stream", ["", "beta", "cuttingedge", "dev", "tourney"])
def test_stream_is_part_of_the_version(stream: str) -> None:
    request = read_login(a_login(version=f"b20250415.12{stream}"))

    assert request.stream == (stream or "stable")
    assert request.tournament == (stream == "tourney")


@pytest.mark.parametrize(
    "version", ["b20269999", "b1", "b" + "2" * 3_000, "20250415", "b20250415.2x", "b２０２５０４１５"]
)
def test_invalid_version_is_refused_quickly(version: str) -> None:
    body = a_login(version=version)

    took_s = core_seconds(lambda: refusal(body), enough=0.05)

    assert refusal(body).word == "invalid-request"
    assert took_s < 0.05


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"one\ntwo", b"a\nb\nc|d|e|f", b"\xff\n\xfe\nb|0|0|h|0"])
def test_invalid_login_request_is_refused(body: bytes) -> None:
    assert refusal(body).word == "invalid-request"


@pytest.mark.parametrize("hashes", ["a:b.:c:", ":".join(["x"] * 10_000), ""])
def test_login_without_exactly_five_hashes_is_refused(hashes: str) -> None:
    assert refusal(a_login(hashes=hashes)).word == "invalid-request"


@pytest.mark.parametrize("adapters", ["", "...", "."])
def test_client_without_network_adapter_is_refused(adapters: str) -> None:
    assert refusal(a_login(hashes=f"{MD5}:{adapters}:{MD5}:{MD5}:{MD5}:")).word == "empty-adapters"


def test_adapters_without_a_final_dot_and_wine_are_accepted() -> None:
    assert read_login(a_login(hashes=f"{MD5}:0A1B:{MD5}:{MD5}:{MD5}:")).adapters == "0A1B"
    assert read_login(a_login(hashes=f"{MD5}:runningunderwine:{MD5}:{MD5}:{MD5}:")).wine


@pytest.mark.parametrize("password", [MD5[:31], MD5 + "0", MD5.upper(), "g" * 32, ""])
def test_invalid_password_hash_becomes_empty(password: str) -> None:
    assert read_login(a_login(password=password)).password_md5 == ""


@given(st.binary(max_size=5_000))
def test_random_bytes_are_refused_without_other_errors(body: bytes) -> None:
    with contextlib.suppress(BadLogin):
        read_login(body)
