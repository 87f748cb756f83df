"""The HTTP client of the tests."""

import socket
from pathlib import Path
from typing import Any

import pytest
from tests.wire.kit import Server


def test_a_connection_that_is_reset_while_it_opens_is_an_error_of_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset(*_: Any, **__: Any) -> Any:
        raise ConnectionResetError

    monkeypatch.setattr(socket, "create_connection", reset)

    with pytest.raises(ConnectionResetError):
        Server(tmp_path / "data").get("/get_player_count")
