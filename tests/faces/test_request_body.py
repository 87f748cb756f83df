"""Bodies straight from ASGI are read as by Falcon's stream."""

import asyncio
from typing import Any

import pytest
from falcon.asgi.stream import BoundedStream

from kiai.faces.request_body import AsgiRequest, BodyStream

PIECES = (
    [{"body": b"abcdefgh", "more_body": False}],
    [{"body": b"abc", "more_body": True}, {"body": b"defgh", "more_body": False}],
    [{"body": b"abc", "more_body": True}, {"body": b"", "more_body": True}, {"body": b"defgh"}],
    [{"body": b"abc", "more_body": True}, {"type": "http.disconnect"}],
    [{"body": b""}],
)


def stream_of(messages: list[dict[str, Any]]) -> tuple[BodyStream, BodyStream]:
    """Return our stream and that of Falcon over these messages. A read after the last message fails."""

    def receive(left: list[dict[str, Any]]) -> Any:
        async def take() -> dict[str, Any]:
            return {"type": "http.request"} | left.pop(0)

        return take

    ours = AsgiRequest({"headers": []}, receive(list(messages))).stream
    return ours, BoundedStream(receive(list(messages)))


@pytest.mark.parametrize("messages", PIECES)
@pytest.mark.parametrize("sizes", [(100, 100), (1, 2, 3, 100, 1), (4, 4, 1), (3, 3, 3)])
def test_body_is_read_in_the_same_pieces_as_by_falcon(messages: list[dict[str, Any]], sizes: tuple[int, ...]) -> None:
    async def scenario() -> None:
        ours, falcons = stream_of(messages)
        assert [await ours.read(size) for size in sizes] == [await falcons.read(size) for size in sizes]

    asyncio.run(scenario())


def test_headers_of_the_body_are_those_of_the_request() -> None:
    async def receive() -> Any:
        raise AssertionError("nothing is read")

    headers = [(b"content-type", b"text/plain"), (b"content-length", b"7"), (b"content-type", b"a/b; c=\xe4")]
    request = AsgiRequest({"headers": headers}, receive)

    assert (request.content_type, request.content_length) == ("a/b; c=ä", 7)
    assert AsgiRequest({"headers": []}, receive).content_length is None
