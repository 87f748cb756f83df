"""How the operator wants certificates to be obtained, from the settings."""

from typing import Final, Literal

import msgspec

from kiai.server_settings import Settings

Mode = Literal["off", "self", "auto", "file"]
"""`self`: a local authority. `auto`: an ACME authority. `file`: the operator's own certificate."""
HOOK_S: Final = 180
"""The longest time of one call of the hook that sets or removes a DNS record, in seconds."""


class TlsPlan(msgspec.Struct, frozen=True):
    """The settings for TLS. The server stores them in the data folder for `kiai tls`, which is given no flags of it.

    `chain` and `key` are absolute paths, with the mode `file` only.
    """

    mode: Mode
    domain: str
    chain: str | None = None
    key: str | None = None
    directory: str = ""
    authority_pem: str | None = None
    email: str | None = None
    challenge: Literal["http-01", "dns-01"] = "http-01"
    dns_hook: str | None = None


def plan_of(settings: Settings) -> TlsPlan:
    """Return the plan of these settings."""
    if settings.tls in ("off", "self"):
        return TlsPlan("off" if settings.tls == "off" else "self", settings.domain)
    if settings.tls == "auto":
        return TlsPlan(
            "auto",
            settings.domain,
            directory=settings.acme_directory,
            authority_pem=settings.acme_ca,
            email=settings.acme_email,
            challenge=settings.acme_challenge,
            dns_hook=settings.acme_dns_hook,
        )
    return TlsPlan("file", settings.domain, settings.tls, settings.tls_key)
