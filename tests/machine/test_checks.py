"""Checks of the facts about a machine: DNS records, ports, the clock, the disk, open files, the certificate."""

from typing import Any, Final

import pytest

from kiai.machine.checks import (
    CertificateFacts,
    ClockFacts,
    MachineCheck,
    NetworkFacts,
    PortFacts,
    PortState,
    Resolution,
    all_ok,
    check_certificate,
    check_clock,
    check_disk,
    check_domain,
    check_files,
    check_port,
    check_records,
)
from kiai.tls.names import server_names

PUBLIC: Final = "8.8.4.4"
OTHER: Final = "1.0.0.1"
PRIVATE: Final = "192.168.1.5"
NOW: Final = 1_800_000_000.0


def network(found: dict[str, Resolution], **facts: Any) -> NetworkFacts:
    fields: dict[str, Any] = {"own": {PUBLIC}, "outgoing": PUBLIC, "direct": True} | facts
    return NetworkFacts("play.example", found, **fields | {"own": frozenset(fields["own"])})


def all_at(*addresses: str) -> dict[str, Resolution]:
    return {name: Resolution(addresses) for name in server_names("play.example")}


# --- the domain


@pytest.mark.parametrize("domain", ["kiai.example", "localhost", "a.b.c.example", "1.example"])
def test_domain_that_clients_can_use_is_accepted(domain: str) -> None:
    assert check_domain(domain) is None


@pytest.mark.parametrize(
    "domain", ["127.0.0.1", "::1", "a..example", "-a.example", "a-.example", f"{'a' * 64}.example", "a." * 124 + "bc"]
)
def test_domain_that_clients_cannot_use_is_named(domain: str) -> None:
    assert check_domain(domain)


# --- the DNS


def test_records_that_point_at_this_machine_fit() -> None:
    records = check_records(network(all_at(PUBLIC)))

    assert [one.name for one in records] == list(server_names("play.example"))
    assert {(one.type, one.value, one.ok) for one in records} == {("A", PUBLIC, True)}


def test_a_missing_and_a_wrong_record_are_told_with_the_address_they_need() -> None:
    found = all_at(PUBLIC) | {"c.play.example": Resolution(), "osu.play.example": Resolution((OTHER,))}

    wrong = {one.name: one.detail for one in check_records(network(found)) if not one.ok}

    assert set(wrong) == {"c.play.example", "osu.play.example"}
    assert wrong["c.play.example"] == f"has no record; add one with {PUBLIC}"
    assert OTHER in wrong["osu.play.example"]
    assert f"change it to {PUBLIC}" in wrong["osu.play.example"]


def test_behind_a_router_a_public_address_is_unknown_and_a_private_one_of_another_machine_is_wrong() -> None:
    behind = {"own": set(), "outgoing": PRIVATE}

    assert {one.ok for one in check_records(network(all_at(PUBLIC), **behind))} == {None}
    assert {one.value for one in check_records(network(all_at(PUBLIC), **behind))} == {PUBLIC}
    assert {one.ok for one in check_records(network(all_at("192.168.1.9"), **behind))} == {False}
    assert {one.value for one in check_records(network(all_at(), **behind))} == {None}


def test_an_ipv6_record_is_wrong_where_the_server_listens_on_ipv4_only() -> None:
    found = all_at(PUBLIC, "2606:4700::1")

    assert {one.ok for one in check_records(network(found))} == {False}
    assert {one.ok for one in check_records(network(found, ipv4_only=False))} == {True}
    assert {one.ok for one in check_records(network(all_at("127.0.0.1", "::1"), own={"127.0.0.1", "::1"}))} == {True}


def test_a_machine_with_ipv6_only_needs_other_records() -> None:
    address = "2606:4700::1"

    [kind] = {
        (one.type, one.value, one.ok)
        for one in check_records(network(all_at(address), own={address}, outgoing=address, ipv4_only=False))
    }

    assert kind == ("AAAA", address, True)


def test_behind_a_proxy_another_address_is_unknown_but_a_missing_record_is_wrong() -> None:
    assert {one.ok for one in check_records(network(all_at(OTHER), direct=False))} == {None}
    assert {one.ok for one in check_records(network(all_at(), direct=False))} == {False}


def test_a_resolver_that_does_not_answer_is_told() -> None:
    silent = {name: Resolution(error="try again") for name in server_names("play.example")}

    [one, *_] = check_records(network(silent))

    assert one.ok is False
    assert "try again" in one.detail


def test_localhost_needs_no_records() -> None:
    records = check_records(NetworkFacts("localhost", {}, frozenset(), PUBLIC, direct=True))

    assert [one.name for one in records] == list(server_names("localhost"))
    assert {one.ok for one in records} == {None}


# --- ports


@pytest.mark.parametrize(
    ("state", "required", "ok", "says"),
    [
        ("free", True, True, "free"),
        ("served", True, True, "the server listens"),
        ("silent", True, None, "other options"),
        ("taken", True, False, "--port"),
        ("forbidden", True, False, "CAP_NET_BIND_SERVICE"),
        ("no address", True, False, "--host"),
        ("taken", False, None, "not redirected"),
        ("forbidden", False, None, "not redirected"),
    ],
)
def test_port_is_checked_by_its_state(state: PortState, required: bool, ok: bool | None, says: str) -> None:
    check = check_port(PortFacts("0.0.0.0", 443, state, "--port", required))

    assert (check.name, check.ok) == ("port:443", ok)
    assert says in check.detail


def test_a_systemd_unit_may_open_a_port_that_the_command_may_not_open() -> None:
    assert check_port(PortFacts("0.0.0.0", 443, "forbidden", "--port"), may_open_low=True).ok is True
    assert check_port(PortFacts("0.0.0.0", 443, "taken", "--port"), may_open_low=True).ok is False


# --- the clock


@pytest.mark.parametrize(
    ("facts", "ok", "says"),
    [
        (ClockFacts(NOW, NOW - 1, authority_s=NOW - 60, kept=False), True, "agrees"),
        (ClockFacts(NOW, NOW - 1, authority_s=NOW - 61, kept=True), False, "61 seconds ahead of"),
        (ClockFacts(NOW, NOW - 1, authority_s=NOW + 3600, kept=True), False, "3600 seconds behind"),
        (ClockFacts(NOW, NOW - 1, kept=True), True, "synchronised"),
        (ClockFacts(NOW, NOW - 1, kept=False), None, "no program"),
        (ClockFacts(NOW, NOW - 1), None, "nothing to compare"),
        (ClockFacts(NOW, NOW + 86_401, kept=True), False, "but kiai is from"),
        (ClockFacts(NOW, NOW + 86_399), None, "nothing to compare"),
    ],
)
def test_clock_is_compared_with_what_there_is(facts: ClockFacts, ok: bool | None, says: str) -> None:
    check = check_clock(facts)

    assert (check.name, check.ok) == ("clock", ok)
    assert says in check.detail


# --- disk, open files, certificate


@pytest.mark.parametrize(
    ("free", "writable", "ok"), [(1 << 30, True, True), ((1 << 30) - 1, True, False), (1 << 40, False, False)]
)
def test_disk_needs_a_gibibyte_and_the_right_to_write(free: int, writable: bool, ok: bool) -> None:
    assert check_disk("data", free, writable=writable).ok is ok


def test_disk_of_unknown_size_is_unknown() -> None:
    assert check_disk("data", None, writable=True).ok is None


def test_open_files_must_suffice_for_the_connections() -> None:
    assert check_files(10_256, 10_000).ok is True
    low = check_files(1_024, 10_000)
    assert low.ok is False
    assert "LimitNOFILE" in low.detail


@pytest.mark.parametrize(
    ("facts", "ok", "says"),
    [
        (CertificateFacts("off", "localhost"), None, "off"),
        (CertificateFacts("off", "play.example"), None, "proxy"),
        (CertificateFacts("self", "localhost"), None, "first start"),
        (CertificateFacts("self", "localhost", made=True), True, "valid"),
        (CertificateFacts("file", "play.example", ("it has expired",), made=True), False, "it has expired"),
        (CertificateFacts("auto", "play.example", authority_error="refused"), False, "does not answer: refused"),
    ],
)
def test_certificate_is_checked(facts: CertificateFacts, ok: bool | None, says: str) -> None:
    check = check_certificate(facts)

    assert (check.name, check.ok) == ("tls", ok)
    assert says in check.detail


def test_only_a_failed_check_counts_as_failed() -> None:
    assert all_ok([MachineCheck("a", True, ""), MachineCheck("b", None, "")])
    assert not all_ok([MachineCheck("a", True, ""), MachineCheck("b", False, "")])
