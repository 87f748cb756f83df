from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.builders import Run
from tests.entry.kit import Entry
from tests.mail_server import MailServer

from kiai.storage.port import Database


@pytest.fixture(scope="session")
def mail_server() -> Iterator[MailServer]:
    """A mail server for all tests of this folder."""
    with MailServer().running() as server:
        yield server


@pytest.fixture
def entry(database: Database, run: Run, tmp_path: Path, mail_server: MailServer) -> Entry:
    """The services of entry with alice (3) and a mail server, with each engine."""
    mail_server.mails.clear()
    return Entry(database, run, tmp_path, mail_server)
