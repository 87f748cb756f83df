"""A wrapper of an adapter that reveals races and aliasing without Redis.

It encodes and decodes every argument and result, yields to the event loop before and after each method, and runs every
rule twice on separate copies.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import msgspec

from kiai.realtime.port import Realtime, RealtimeError


def strict(inner: Realtime) -> Realtime:
    """Wrap an adapter."""
    return cast(Realtime, _Strict(inner))


def copied(value: Any) -> Any:
    """Return the value as another process would receive it."""
    if isinstance(value, msgspec.Struct):
        assert value.__struct_config__.frozen, f"{type(value).__name__} is not frozen"
        return msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=type(value))
    if value is None or isinstance(value, int | float | str | bytes | type):
        return value
    if isinstance(value, Mapping):
        return {copied(key): copied(one) for key, one in value.items()}
    if isinstance(value, Set):
        return {copied(one) for one in value}
    if isinstance(value, tuple):
        return tuple(copied(one) for one in value)
    assert isinstance(value, Sequence), f"{type(value).__name__} is no value"
    return [copied(one) for one in value]


async def _copies_of(values: AsyncIterable[Any]) -> AsyncIterator[Any]:
    async for value in values:
        yield copied(value)


class _Strict:
    answers_at_once = False

    def __init__(self, inner: Realtime) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._inner, name)

        async def strict_method(*args: Any, **named: Any) -> Any:
            raised_by_rules: list[Exception] = []

            def passed(value: Any) -> Any:
                if isinstance(value, AsyncIterable):
                    return _copies_of(value)
                if callable(value) and not isinstance(value, type):
                    return _twice(value, raised_by_rules)
                return copied(value)

            given = [passed(value) for value in args]
            given_by_name = {key: passed(value) for key, value in named.items()}
            await asyncio.sleep(0)
            try:
                answer = method(*given, **given_by_name)
                answer = copied(await answer if isinstance(answer, Awaitable) else answer)
            except Exception as error:
                if isinstance(error, RealtimeError) or error in raised_by_rules:
                    raise
                raise AssertionError(f"{error!r} passed the port") from error
            finally:
                await asyncio.sleep(0)
            return answer

        return strict_method

    def session_lock(self, token: str) -> AbstractAsyncContextManager[None]:
        """Yield to the event loop before, inside and after the lock. The only method that is not a coroutine."""
        return _strict_lock(self._inner.session_lock(token))


@asynccontextmanager
async def _strict_lock(lock: AbstractAsyncContextManager[None]) -> AsyncIterator[None]:
    await asyncio.sleep(0)
    async with lock:
        await asyncio.sleep(0)
        try:
            yield
        finally:
            await asyncio.sleep(0)


def _twice(rule: Callable[[Any], Any], raised: list[Exception]) -> Callable[[Any], Any]:
    def run(value: Any) -> Any:
        try:
            first, second = rule(copied(value)), rule(copied(value))
        except Exception as error:
            raised.append(error)
            raise
        assert first == second, f"the rule is not pure: {first!r}, then {second!r}"
        return copied(second)

    return run
