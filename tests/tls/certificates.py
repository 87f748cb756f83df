"""Certificates of an authority of others, in files."""

import datetime
from pathlib import Path
from typing import Final

import trustme

DAY: Final = datetime.timedelta(days=1)


def write_certificate(
    authority: trustme.CA,
    folder: Path,
    *names: str,
    starts: datetime.timedelta = -DAY,
    ends: datetime.timedelta = 90 * DAY,
) -> tuple[Path, Path]:
    """Write `chain.pem` and `key.pem` for these names, valid between two moments from now. Return their paths."""
    now = datetime.datetime.now(datetime.UTC)
    issued = authority.issue_cert(*names, not_before=now + starts, not_after=now + ends)
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return chain, key
