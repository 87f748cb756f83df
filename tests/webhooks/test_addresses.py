"""Which addresses a webhook may reach."""

import pytest

from kiai.webhooks.addresses import is_public_text, shown
from kiai.webhooks.discord_format import neutral


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)
def test_public_addresses(address: str) -> None:
    assert is_public_text(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.9",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001::1",
        "2001:db8::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "100::1",
        "not an address",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public_text(address)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text, 1-2!", "plain text, 1-2!"),
        ("a_b*c~d`e|f", r"a\_b\*c\~d\`e\|f"),
        ("[x](https://e.example)", r"\[x\]\(https\:/\/e.example\)"),
        ("@here @everyone", "\u200b@\u200bhere \u200b@\u200beveryone"),
        ("<@1> <#2> <:a:3>", "\\<\u200b@\u200b1\\> \\<\\#2\\> \\<\\:a\\:3\\>"),
        ("a\nb\r\n> c", r"a b \> c"),
        ("a\u202eb", "a b"),
        ("\\*", r"\\\*"),
        ("x" * 600, "x" * 499 + "\u2026"),
    ],
)
def test_text_from_outside_has_no_meaning_for_discord(text: str, expected: str) -> None:
    assert neutral(text) == expected


def test_only_scheme_and_host_of_a_url_are_logged() -> None:
    assert shown("https://discord.example/api/webhooks/1/secret") == "https://discord.example"
