"""The limits of the guard (`guard.py`)."""

from ipaddress import IPv4Network, IPv6Network
from typing import Final

import msgspec

from kiai.networks import Network

KIB: Final = 1024
MIB: Final = 1024 * KIB


class GuardLimits(msgspec.Struct, frozen=True):
    """The limits of the guard: sizes in bytes, times in seconds, rates in bytes per second.

    docs/operate/limits.md#the-guard explains each of them.
    """

    head_s: float = 10.0
    head_bytes: int = 16 * KIB
    fields: int = 100
    target_bytes: int = 8 * KIB
    body_bytes: int = 20 * MIB
    body_s: float = 60.0
    upload_s: float = 300.0
    upload_bytes: int = MIB  # a body with a larger Content-Length has `upload_s` instead of `body_s`
    body_bytes_per_s: int = KIB
    reserved_bytes_per_s: int = 8 * KIB  # the minimum for a body that has reserved memory (`body_budget.py`)
    body_grace_s: float = 10.0  # the period over which the rate is measured
    free_body_bytes: int = 64 * KIB  # a body up to this size reserves nothing
    bodies_bytes: int = 80 * MIB
    small_bodies_bytes: int = 16 * MIB  # the part of `bodies_bytes` for bodies of at most `upload_bytes`
    bodies_bytes_per_address: int = 24 * MIB
    paced_bytes_per_s: int = 16 * MIB  # at which the bodies of one address above `free_body_bytes` are read together
    budget_wait_s: float = 5.0
    contended_bytes_per_s: int = 32 * KIB  # the minimum rate while other bodies wait for memory
    answers_bytes: int = 160 * MIB
    first_answers_bytes: int = 40 * MIB  # in addition, for networks without another unread answer
    answers_bytes_per_address: int = 24 * MIB
    answer_bytes_per_s: int = 8 * KIB  # the minimum at which a client reads an answer above 64 KiB
    answer_grace_s: float = 10.0
    contended_s: float = 3.0  # a sender may be slower than `contended_bytes_per_s` for this time
    pipelined: int = 100
    idle_s: float = 75.0
    unread_s: float = 30.0
    linger_s: float = 2.0
    shutdown_wait_s: float = 1.0
    sweep_s: float = 1.0
    handshake_s: float = 10.0
    handshakes: int = 1_000  # of TLS, at once
    handshakes_per_address: int = 50
    connections: int = 10_000
    connections_per_address: int = 200
    trusted: tuple[Network, ...] = ()
    loopback: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
