"""A process that composes blocks of plays for `loading.py`."""

from functools import lru_cache
from pathlib import Path

import msgspec

from kiai.demo.blocks import BlockComposer, BlockRequest
from kiai.pool_process import serve


@lru_cache(maxsize=1)
def _composer(folder: str) -> BlockComposer:
    return BlockComposer(Path(folder))


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    decode = msgspec.msgpack.Decoder(BlockRequest).decode

    def answer(head: bytes, _: bytes) -> bytes:
        request = decode(head)
        return msgspec.msgpack.encode(_composer(request.folder).compose(request.first, request.last))

    serve(answer, niceness=0)


if __name__ == "__main__":
    main()
