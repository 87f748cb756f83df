"""Maintenance, registration, address blocks, planned stops and debug lines: states, ends and audit rows."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from ipaddress import ip_network
from typing import Any, cast

import msgspec
import pytest
from tests.builders import DEVELOPER, NORMAL, World, a_player

from kiai.callers import CALLER
from kiai.chat import Chat
from kiai.documents.stored import StoredTexts
from kiai.errors import Invalid, KiaiError, NotAllowed, NotFound, Refused, WrongState
from kiai.faces.bancho.announce import announcer
from kiai.faces.bancho.announce import presence as presence_packets
from kiai.osu.privileges import Privilege
from kiai.presence import Presence, drained
from kiai.realtime.port import Session, SessionStats, Status
from kiai.server_settings import MASK, RegistrationState, Settings
from kiai.settings import load_settings
from kiai.staff import OPERATOR, Actor
from kiai.staff.address_blocks import BLOCKS_MAX, AddressBlocks
from kiai.staff.announcements import Announcements
from kiai.staff.debug_log import LASTS_S, DebugLog
from kiai.staff.game_texts import GameTexts
from kiai.staff.live_settings import RELOADED, RETRY_S, LiveSettings
from kiai.staff.maintenance import MATCH_MS, Maintenance
from kiai.staff.registration_switch import RegistrationSwitch
from kiai.staff.shutdown import Shutdown
from kiai.staff.switches import Switch, Switches, store
from kiai.storage.tables import address_blocks as blocks_table
from kiai.storage.tables import audit_log

ADMINISTRATOR = int(NORMAL | Privilege.ADMINISTRATOR)


class Posts:
    """A chat that has only #announce, until it is removed."""

    def __init__(self, posts: list[tuple[str, str]]) -> None:
        self.posts = posts
        self.exists = True

    def check_exists(self, channel: str) -> None:
        if not self.exists:
            raise NotFound("channel")

    async def post(self, channel: str, text: str) -> None:
        self.posts.append((channel, text))


class Worker:
    """The services of one worker of a server. Two of them share the database and the live state."""

    def __init__(self, world: World, *, maintenance: bool = False, registration: RegistrationState = "on") -> None:
        async def stats_of(user_id: int, mode: int) -> SessionStats:
            return SessionStats()

        self.world = world
        self.switches = Switches(world.database, world.clock, maintenance=maintenance, registration=registration)
        self.presence = Presence(
            world.realtime, world.accounts, world.clock, announcer(presence_packets.TABLE), stats_of
        )
        parts = (world.authority, self.switches)
        live = (*parts, world.realtime, self.presence, world.clock)
        self.maintenance = Maintenance(*live, title="Kiai Club")
        self.shutdown = Shutdown(*live, title="Kiai Club")
        self.blocks = AddressBlocks(world.database, *parts, world.clock, (ip_network("10.0.0.0/8"),))
        self.chat = Posts([])
        self.announcements = Announcements(
            world.authority, world.realtime, self.presence, cast(Chat, self.chat), world.clock
        )
        self.registration = RegistrationSwitch(*parts, world.clock)
        self.debug = DebugLog(*parts, world.clock, level="info")

    def follow(self) -> None:
        """Do what the job does on every worker."""
        self.world.run(self.switches.reload())
        self.world.run(self.blocks.follow())

    def log_in(self, user_id: int, *, priv: int = NORMAL, match_id: int = 0) -> str:
        """Open a session and return its token."""
        token = f"token-{user_id}"
        session = Session(
            token=token,
            user_id=user_id,
            name=f"player{user_id}",
            priv=priv,
            hidden=not priv & 1,
            login_time_ms=self.world.clock.now_ms(),
            status=Status(),
            match_id=match_id,
            room_id=match_id,
        )
        self.world.run(self.presence.open_session(session))
        return token

    def online(self) -> set[str]:
        """Return the tokens of all sessions."""
        return set(self.world.run(self.world.realtime.idle_sessions(0.0, 100)))

    def read(self, token: str) -> bytes:
        """Return what the session receives."""
        _, entries = self.world.run(self.world.realtime.poll(token))
        return b"".join(entry.body for entry in entries)


@pytest.fixture
def worker(world: World) -> Worker:
    return Worker(world)


@pytest.fixture
def root(world: World) -> Actor:
    return Actor(world.add_player(a_player("root", priv=DEVELOPER)), "game")


def rows(world: World) -> list[tuple[str, str, int, dict[str, Any]]]:
    """Return action, source, actor and details of all audit rows, oldest first."""
    columns = audit_log.c
    found = world.look(audit_log.select().order_by(columns.id))
    names = [column.name for column in columns]
    return [
        (row["action"], row["source"], row["actor_id"], json.loads(row["details"]))
        for row in (dict(zip(names, one, strict=True)) for one in found)
    ]


def store_switch(world: World, switch: Switch) -> None:
    """Store a switch as another process does."""
    world.run(world.database.transaction(lambda tx: store(tx, switch)))


def both(world: World, one: Coroutine[Any, Any, object], other: Coroutine[Any, Any, object]) -> list[object]:
    """Run two acts at the same time and return their results, an error as its type."""

    async def run() -> list[object]:
        found = await asyncio.gather(one, other, return_exceptions=True)
        return [type(result) if isinstance(result, BaseException) else result for result in found]

    return world.run(run())


# --- rights

Act = Callable[[Worker, Actor], Coroutine[Any, Any, object]]
ACTS: dict[str, Act] = {
    "maintenance": lambda worker, actor: worker.maintenance.switch(actor, on=True),
    "state of maintenance": lambda worker, actor: worker.maintenance.is_on(actor),
    "registration": lambda worker, actor: worker.registration.switch(actor, "off"),
    "state of registration": lambda worker, actor: worker.registration.state(actor),
    "shutdown": lambda worker, actor: worker.shutdown.plan(actor, 15),
    "cancel of shutdown": lambda worker, actor: worker.shutdown.cancel(actor),
    "check of cancel": lambda worker, actor: worker.shutdown.check_cancel(actor),
    "check of shutdown": lambda worker, actor: worker.shutdown.check(actor, 15),
    "block": lambda worker, actor: worker.blocks.block(actor, "203.0.113.9", "spam"),
    "unblock": lambda worker, actor: worker.blocks.unblock(actor, "203.0.113.9", "spam"),
    "blocks": lambda worker, actor: worker.blocks.all(actor),
    "page of blocks": lambda worker, actor: worker.blocks.page(actor),
    "one block": lambda worker, actor: worker.blocks.one(actor, 1),
    "text of the game": lambda worker, actor: game_texts(worker, live_settings(worker, dict)).set(
        actor, "welcome", "Hi", reason="news"
    ),
    "end of a text": lambda worker, actor: game_texts(worker, live_settings(worker, dict)).withdraw(
        actor, "welcome", reason="news"
    ),
    "debug": lambda worker, actor: worker.debug.switch(actor, on=True),
    "state of debug": lambda worker, actor: worker.debug.is_on(actor),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
@pytest.mark.parametrize("priv", [NORMAL, ADMINISTRATOR, DEVELOPER & ~1], ids=["player", "administrator", "restricted"])
def test_acts_need_a_developer(world: World, worker: Worker, act: Act, priv: int) -> None:
    alice = world.add_player(a_player(priv=priv))

    with pytest.raises(NotAllowed):
        world.run(act(worker, Actor(alice, "game")))

    assert rows(world) == []
    assert not worker.switches.under_maintenance()
    assert worker.switches.registration() == "on"
    assert world.look(blocks_table.select()) == []


# --- maintenance


def test_maintenance_ends_sessions_after_a_notice_and_after_the_match(
    world: World, worker: Worker, root: Actor
) -> None:
    staff = worker.log_in(root.user_id, priv=DEVELOPER)
    idle, playing = worker.log_in(11), worker.log_in(12, match_id=7)
    restricted = worker.log_in(13, priv=NORMAL & ~1)
    world.run(worker.maintenance.switch(root, on=True, reason="moving"))

    assert world.run(worker.maintenance.drain()) == 0
    assert b"under maintenance" in worker.read(idle)
    assert b"under maintenance" in worker.read(playing)
    assert world.run(worker.maintenance.drain()) == 2
    assert worker.online() == {staff, playing}
    stored = world.run(drained.stored(world.realtime, 11))
    assert [session.token for session in stored] == [idle]
    assert worker.online().isdisjoint({idle, restricted})

    def leave(now: Session) -> tuple[Session, tuple[()]]:
        return msgspec.structs.replace(now, match_id=0, room_id=0), ()

    world.run(world.realtime.change_session(playing, leave))
    assert world.run(worker.maintenance.drain()) == 1
    assert worker.online() == {staff}
    assert world.run(worker.maintenance.drain()) == 0


def test_a_match_without_end_does_not_delay_maintenance_forever(world: World, worker: Worker, root: Actor) -> None:
    playing = worker.log_in(12, match_id=7)
    world.run(worker.maintenance.switch(root, on=True))
    world.run(worker.maintenance.drain())
    world.clock.advance(MATCH_MS / 1000 - 1)
    assert world.run(worker.maintenance.drain()) == 0

    world.clock.advance(2)
    assert world.run(worker.maintenance.drain()) == 1
    assert playing not in worker.online()


def test_maintenance_survives_a_restart_and_reaches_other_workers(world: World, worker: Worker, root: Actor) -> None:
    other = Worker(world)
    other.follow()
    world.run(worker.maintenance.switch(root, on=True))
    assert worker.switches.under_maintenance(), "the worker of the act needs no job"
    assert not other.switches.under_maintenance()

    other.follow()

    assert other.switches.under_maintenance()
    world.run(other.maintenance.switch(root, on=False))
    worker.follow()
    assert not worker.switches.under_maintenance()
    token = worker.log_in(11)
    assert world.run(worker.maintenance.drain()) == 0
    assert token in worker.online()


def test_maintenance_is_switched_once_by_two_at_the_same_time(world: World, worker: Worker, root: Actor) -> None:
    switch = worker.maintenance.switch
    assert sorted(map(str, both(world, switch(root, on=True), switch(OPERATOR, on=True)))) == sorted(
        [str(None), str(WrongState)]
    )
    [(action, _, _, details)] = rows(world)
    assert (action, details) == ("maintenance", {"before": False, "after": True})
    with pytest.raises(WrongState, match="already on"):
        world.run(switch(root, on=True))
    world.run(switch(OPERATOR, on=False))
    with pytest.raises(WrongState, match="already off"):
        world.run(switch(root, on=False))
    assert [row[:3] for row in rows(world)][1:] == [("maintenance", "cli", 0)]


def test_the_setting_wins_over_the_switch(world: World, root: Actor) -> None:
    worker = Worker(world, maintenance=True)
    assert world.run(worker.maintenance.is_on(root))
    with pytest.raises(WrongState, match="already on"):
        world.run(worker.maintenance.switch(root, on=True))
    with pytest.raises(WrongState, match="by the setting"):
        world.run(worker.maintenance.switch(root, on=False))
    assert rows(world) == []


@pytest.mark.parametrize("was_on", [False, True], ids=["never switched", "switched off"])
def test_maintenance_by_the_setting_begins_with_the_server(
    world: World, worker: Worker, root: Actor, was_on: bool
) -> None:
    if was_on:
        world.run(worker.maintenance.switch(root, on=True))
        world.run(worker.maintenance.switch(root, on=False))
        world.clock.advance(MATCH_MS / 1000)
    for _ in range(2):
        world.clock.advance(60)
        started = Worker(world, maintenance=True)
        started.follow()
        other = Worker(world, maintenance=True)
        other.maintenance.started_ms = started.maintenance.started_ms
        other.follow()
        playing = started.log_in(12, match_id=7)

        for one in (started, other, started):
            assert world.run(one.maintenance.drain()) == 0
        assert started.read(playing).count(b"under maintenance") == 1
        world.clock.advance(MATCH_MS / 1000)
        assert world.run(other.maintenance.drain()) == 1


# --- registration


def test_registration_is_switched_on_every_worker_and_over_restarts(world: World, worker: Worker, root: Actor) -> None:
    other = Worker(world)
    switch = worker.registration.switch
    assert world.run(switch(root, "off", reason="a raid")) == "off"
    assert worker.switches.registration() == "off", "the worker of the act needs no job"
    assert other.switches.registration() == "on"

    other.follow()

    assert other.switches.registration() == "off"
    assert other.switches.switched_registration() == "off"
    world.run(other.registration.switch(OPERATOR, "invite"))
    worker.follow()
    assert worker.switches.registration() == "invite"
    assert world.run(switch(root, "setting")) == "on"
    assert worker.switches.switched_registration() is None
    assert rows(world) == [
        ("registration", "game", root.user_id, {"before": "on", "after": "off", "setting": "on"}),
        ("registration", "cli", 0, {"before": "off", "after": "invite", "setting": "on"}),
        ("registration", "game", root.user_id, {"before": "invite", "after": "on", "setting": "on"}),
    ]


def test_registration_that_is_switched_as_the_setting_says_follows_the_setting(
    world: World, worker: Worker, root: Actor
) -> None:
    world.run(worker.registration.switch(root, "invite"))
    world.run(worker.registration.switch(root, "on"))

    restarted = Worker(world, registration="off")
    restarted.follow()

    assert restarted.switches.registration() == "off"
    assert world.run(restarted.registration.switch(root, "on")) == "on"
    assert restarted.switches.switched_registration() == "on"


def test_registration_is_not_switched_to_the_same_state(world: World, worker: Worker, root: Actor) -> None:
    switch = worker.registration.switch
    for choice in ("on", "setting"):
        with pytest.raises(WrongState, match="already open to everybody"):
            world.run(switch(root, choice))
    assert both(world, switch(root, "off"), switch(root, "off")).count(WrongState) == 1
    with pytest.raises(Invalid, match="one of on, invite, off, setting"):
        world.run(switch(root, "maybe"))
    assert len(rows(world)) == 1


# --- blocked addresses


@pytest.mark.parametrize(
    ("given", "stored", "blocked", "free"),
    [
        ("203.0.113.9", "203.0.113.9/32", "203.0.113.9", "203.0.113.8"),
        ("203.0.113.9", "203.0.113.9/32", "::ffff:203.0.113.9", "::ffff:203.0.113.8"),
        ("::ffff:203.0.113.9", "203.0.113.9/32", "203.0.113.9", "203.0.113.8"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24", "203.0.113.200", "203.0.114.1"),
        ("203.0.113.77/24", "203.0.113.0/24", "203.0.113.255", "203.0.112.255"),
        ("2001:db8:0:7::5", "2001:db8:0:7::/64", "2001:db8:0:7:ffff::1", "2001:db8:0:8::5"),
        ("2001:db8::5/128", "2001:db8::5/128", "2001:db8::5", "2001:db8::6"),
        ("2001:db8::/32", "2001:db8::/32", "2001:db8:ffff::1%eth0", "2001:db9::1"),
    ],
)
def test_a_block_holds_for_its_network(
    world: World, worker: Worker, root: Actor, given: str, stored: str, blocked: str, free: str
) -> None:
    block = world.run(worker.blocks.block(root, given, "spam"))

    assert (block.network, block.reason, block.actor_id) == (stored, "spam", root.user_id)
    assert worker.blocks.is_blocked(blocked)
    assert not worker.blocks.is_blocked(free)
    assert not worker.blocks.is_blocked("127.0.0.1")
    assert not worker.blocks.is_blocked("unknown")
    world.run(worker.blocks.unblock(root, given, "sorry"))
    assert not worker.blocks.is_blocked(blocked)


@pytest.mark.parametrize(
    "text", ["", "nonsense", "203.0.113", "203.0.113.9/33", "203.0.113.9-20", "1.2.3.4/0x8", "2001:db8::/12", "x" * 999]
)
def test_a_block_needs_an_address(world: World, worker: Worker, root: Actor, text: str) -> None:
    with pytest.raises(Invalid):
        world.run(worker.blocks.block(root, text, "spam"))
    with pytest.raises(KiaiError):
        world.run(worker.blocks.unblock(root, text, "spam"))
    assert rows(world) == []


@pytest.mark.parametrize("text", ["0.0.0.0/0", "1.0.0.0/7", "::/0", "2000::/3"])
def test_a_block_is_not_too_large(world: World, worker: Worker, root: Actor, text: str) -> None:
    with pytest.raises(Invalid, match="too large"):
        world.run(worker.blocks.block(root, text, "spam"))


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "127.0.0.0/8", "::1", "::1/128", "::/16", "::ffff:127.0.0.1", "10.1.2.3"]
)
def test_loopback_and_own_proxies_are_never_blocked(world: World, worker: Worker, root: Actor, text: str) -> None:
    with pytest.raises(Refused, match="of this server or of its proxies"):
        world.run(worker.blocks.block(root, text, "spam"))
    assert rows(world) == []


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9", "203.0.113.0/24"),
        ("2001:db8::/64", "2001:db8::7"),
        ("2001:db8::/64", "2001:db8::/32"),
        ("2001:db8::/64", "2001:db8::9/128"),
    ],
)
def test_nobody_blocks_the_own_address(world: World, worker: Worker, root: Actor, own: str, text: str) -> None:
    async def as_caller() -> None:
        CALLER.set(own)
        await worker.blocks.block(root, text, "spam")

    with pytest.raises(Refused, match="contains your own address"):
        world.run(as_caller())
    assert rows(world) == []


def test_a_timed_block_ends_by_the_job_on_all_workers(world: World, worker: Worker, root: Actor) -> None:
    other = Worker(world)
    block = world.run(worker.blocks.block(root, "203.0.113.9", "spam", seconds=60))
    assert block.ends_at_ms == world.clock.now_ms() + 60_000
    assert not other.blocks.is_blocked("203.0.113.9")
    other.follow()
    assert other.blocks.is_blocked("203.0.113.9")

    world.clock.advance(59)
    assert world.run(worker.blocks.end_due()) == 0
    world.clock.advance(1)
    assert world.run(worker.blocks.end_due()) == 1
    assert world.run(other.blocks.end_due()) == 0

    assert not worker.blocks.is_blocked("203.0.113.9")
    other.follow()
    assert not other.blocks.is_blocked("203.0.113.9")
    on, off = {"blocked": True, "until_ms": block.ends_at_ms}, {"blocked": False, "until_ms": 0}
    assert rows(world) == [
        ("ip_block", "game", root.user_id, {"block": block.id, "before": off, "after": on}),
        ("ip_unblock", "job", 0, {"block": block.id, "before": on, "after": off}),
    ]


def test_the_audit_log_has_no_address(world: World, worker: Worker, root: Actor) -> None:
    world.run(worker.blocks.block(root, "203.0.113.9", "spam"))
    world.run(worker.blocks.unblock(root, "203.0.113.9", "sorry"))

    assert "203.0.113" not in str(world.look(audit_log.select()))


def test_states_of_blocks_are_refused(world: World, worker: Worker, root: Actor) -> None:
    block = worker.blocks.block
    found = both(world, block(root, "203.0.113.0/24", "a"), block(root, "203.0.113.0/24", "b"))
    assert found.count(WrongState) == 1
    with pytest.raises(WrongState, match=r"203\.0\.113\.0/24 is already blocked"):
        world.run(block(root, "203.0.113.9/24", "spam"))
    with pytest.raises(WrongState, match=r"203\.0\.113\.9/32 is not blocked; the block of 203\.0\.113\.0/24"):
        world.run(worker.blocks.unblock(root, "203.0.113.9", "sorry"))
    with pytest.raises(Invalid):
        world.run(block(root, "203.0.114.9", " "))
    with pytest.raises(Invalid):
        world.run(block(root, "203.0.114.9", "spam", seconds=0))
    assert [row[0] for row in rows(world)] == ["ip_block"]


def test_the_number_of_blocks_is_bounded(world: World, worker: Worker, root: Actor) -> None:
    values = [
        {"network": f"198.{n // 256}.{n % 256}.0/24", "at_ms": 1, "actor_id": 0, "reason": "", "ends_at_ms": 0}
        for n in range(BLOCKS_MAX)
    ]
    world.change(blocks_table.insert().values(values))

    with pytest.raises(Refused, match="there are 1000 blocks"):
        world.run(worker.blocks.block(root, "203.0.113.9", "spam"))
    world.run(worker.blocks.unblock(root, "198.0.0.0/24", "full"))
    world.run(worker.blocks.block(root, "203.0.113.9", "spam"))
    assert worker.blocks.is_blocked("198.3.231.1")
    assert not worker.blocks.is_blocked("198.3.232.1")


# --- notifications and lines in #announce


def test_staff_notifies_everybody_once_in_ten_seconds(world: World, worker: Worker, root: Actor) -> None:
    token = worker.log_in(11)
    world.run(worker.announcements.alert_all(root, "hello"))
    with pytest.raises(Refused, match="wait 10 seconds"):
        world.run(worker.announcements.alert_all(root, "again"))
    world.clock.advance(11)
    world.run(worker.announcements.alert_all(root, "later"))

    read = worker.read(token)
    assert (read.count(b"hello"), read.count(b"again"), read.count(b"later")) == (1, 0, 1)
    assert [row[0] for row in rows(world)] == ["alert_all", "alert_all"]


def test_moderator_sends_no_notification_and_no_line(world: World, worker: Worker) -> None:
    moderator = world.add_player(a_player("mod", priv=int(NORMAL | Privilege.MODERATOR)))
    token = worker.log_in(11)

    for act in (worker.announcements.alert_all, worker.announcements.post):
        with pytest.raises(NotAllowed):
            world.run(act(Actor(moderator, "game"), "hello"))

    assert b"hello" not in worker.read(token)
    assert (worker.chat.posts, rows(world)) == ([], [])


def test_line_for_a_channel_that_was_removed_writes_no_row(world: World, worker: Worker, root: Actor) -> None:
    world.run(worker.announcements.post(root, "news"))
    worker.chat.exists = False

    with pytest.raises(NotFound):
        world.run(worker.announcements.post(root, "more news"))

    assert worker.chat.posts == [("#announce", "news")]
    assert [row[0] for row in rows(world)] == ["announce"]


# --- planned stops


def test_a_stop_is_announced_and_due_on_every_worker(world: World, worker: Worker, root: Actor) -> None:
    other = Worker(world)
    token = worker.log_in(11)
    assert world.run(worker.shutdown.plan(root, 120, "new version")) == 120
    assert b"Kiai Club stops in 2 minutes: new version" in worker.read(token)
    due_ms = world.clock.now_ms() + 120_000
    assert rows(world) == [
        ("shutdown", "game", root.user_id, {"before": {"due_ms": 0}, "after": {"due_ms": due_ms}}),
    ]
    assert not worker.shutdown.is_due()
    other.follow()

    world.clock.advance(61)
    for one in (worker, other):
        world.run(one.shutdown.remind())
    assert worker.read(token).count(b"stops in 59 seconds: new version") == 1
    world.clock.advance(58)
    assert not worker.shutdown.is_due()
    world.run(worker.shutdown.remind())
    assert b"stops in 1 second: new version" in worker.read(token)
    world.clock.advance(1)

    assert worker.shutdown.is_due()
    assert other.shutdown.is_due()
    restarted = Worker(world)
    restarted.follow()
    assert not restarted.shutdown.is_due(), "the stop was one of the server before"
    assert world.run(restarted.shutdown.plan(root)) == 15


def test_a_planned_stop_is_cancelled_on_every_worker(world: World, worker: Worker, root: Actor) -> None:
    other = Worker(world)
    for call in (worker.shutdown.check_cancel, worker.shutdown.cancel):
        with pytest.raises(WrongState, match="no stop is planned"):
            world.run(call(root))
    token = worker.log_in(11)
    world.run(worker.shutdown.plan(root, 120))
    due_ms = world.clock.now_ms() + 120_000
    other.follow()

    world.run(other.shutdown.check_cancel(root))
    assert sorted(map(str, both(world, other.shutdown.cancel(root, "fixed"), worker.shutdown.cancel(root)))) == sorted(
        [str(None), str(WrongState)]
    )

    assert worker.read(token).count(b"Kiai Club does not stop") == 1
    worker.follow()
    other.follow()
    world.clock.advance(119)
    for one in (worker, other):
        world.run(one.shutdown.remind())
    assert b"stops in" not in worker.read(token)
    world.clock.advance(1)
    assert (worker.shutdown.is_due(), other.shutdown.is_due()) == (False, False)
    off, on = {"due_ms": 0}, {"due_ms": due_ms}
    assert [(row[0], row[3]) for row in rows(world)] == [
        ("shutdown", {"before": off, "after": on}),
        ("shutdown", {"before": on, "after": off}),
    ]
    assert world.run(other.shutdown.plan(root)) == 15


def test_a_stop_that_another_process_plans_and_cancels_is_announced_once(world: World, worker: Worker) -> None:
    token = worker.log_in(11)
    now = world.clock.now_ms()
    store_switch(world, Switch("stop", now + 120_000, now, reason="from a shell"))
    worker.follow()
    for _ in range(2):
        world.run(worker.shutdown.remind())
    assert worker.read(token).count(b"stops in 2 minutes: from a shell") == 1

    store_switch(world, Switch("stop", 0, now + 1, reason=""))
    worker.follow()
    for _ in range(2):
        world.run(worker.shutdown.remind())

    assert worker.read(token).count(b"does not stop.") == 1


def test_a_planned_stop_ends_with_the_server_that_made_it(world: World, worker: Worker, root: Actor) -> None:
    world.run(worker.shutdown.plan(root, 120))
    world.clock.advance(30)
    restarted, replaced = Worker(world), Worker(world)
    replaced.shutdown.started_ms = worker.shutdown.started_ms  # a worker of the same supervisor
    token = restarted.log_in(11)
    for one in (restarted, replaced):
        one.follow()
    world.clock.advance(80)
    world.run(restarted.shutdown.remind())
    assert b"stops in" not in restarted.read(token)
    world.clock.advance(10)

    assert not restarted.shutdown.is_due()
    assert replaced.shutdown.is_due()


def test_a_plan_of_the_server_before_is_replaced(world: World, worker: Worker, root: Actor) -> None:
    world.run(worker.shutdown.plan(root, 120))
    world.clock.advance(30)
    restarted = Worker(world)

    assert world.run(restarted.shutdown.plan(root, 20)) == 20

    world.clock.advance(20)
    assert restarted.shutdown.is_due()


@pytest.mark.parametrize("seconds", [0, 14, 86_401])
def test_a_stop_has_a_delay_of_15_seconds_to_a_day(world: World, worker: Worker, root: Actor, seconds: int) -> None:
    with pytest.raises(Invalid, match="delay must be 15 seconds to 1 day"):
        world.run(worker.shutdown.check(root, seconds))
    with pytest.raises(Invalid):
        world.run(worker.shutdown.plan(root, seconds))
    assert rows(world) == []


def test_only_one_stop_is_planned(world: World, worker: Worker, root: Actor) -> None:
    plan = worker.shutdown.plan
    assert sorted(map(str, both(world, plan(root, 20), plan(root, 20)))) == sorted(["20", str(WrongState)])
    with pytest.raises(WrongState, match="a stop is already planned, in 20 seconds"):
        world.run(worker.shutdown.check(root, None))
    assert [row[0] for row in rows(world)] == ["shutdown"]


# --- debug lines


def test_debug_lines_end_after_an_hour_on_every_worker(world: World, worker: Worker, root: Actor) -> None:
    other = Worker(world)
    world.run(worker.debug.switch(root, on=True))
    other.follow()
    assert (worker.debug.level(), other.debug.level()) == ("debug", "debug")
    with pytest.raises(WrongState, match="already on"):
        world.run(other.debug.switch(root, on=True))

    world.clock.advance(LASTS_S)

    assert (worker.debug.level(), other.debug.level()) == ("info", "info")
    with pytest.raises(WrongState, match="already off"):
        world.run(worker.debug.switch(root, on=False))
    world.run(worker.debug.switch(root, on=True))
    world.run(worker.debug.switch(root, on=False))
    assert worker.debug.level() == "info"
    assert [row[0] for row in rows(world)] == ["debug"] * 3


# --- settings


def live_settings(worker: Worker, found: Callable[[], dict[str, Any]]) -> LiveSettings:
    """The settings of a worker whose file has these values now."""

    async def read() -> Any:
        values = found()
        if "wrong" in values:
            raise Refused("title must be 1 to 64 characters")
        return load_settings(data=worker.world.folder, **values)

    world = worker.world
    return LiveSettings(load_settings(data=world.folder), world.authority, worker.switches, world.clock, read)


def game_texts(worker: Worker, live: LiveSettings) -> GameTexts:
    world = worker.world
    return GameTexts(world.authority, worker.switches, StoredTexts(world.database), live, world.clock)


def test_texts_of_the_game_override_the_settings_on_every_worker(world: World, worker: Worker, root: Actor) -> None:
    file: dict[str, Any] = {"welcome": "from the file"}
    other = Worker(world)
    mine, others = (live_settings(one, lambda: file) for one in (worker, other))
    texts, texts_there = game_texts(worker, mine), game_texts(other, others)
    world.run(mine.reload(root))

    world.run(texts.set(root, "welcome", "Hello\r\nall ", reason="news"))
    world.run(texts.set(root, "menu_icon", "", reason="no picture"))

    assert (mine.current.welcome, mine.current.menu_icon) == ("Hello\nall", "")
    assert others.current.welcome == ""
    other.follow()
    world.run(texts_there.follow())
    assert others.current.welcome == "Hello\nall"
    sources = {one.origin.name: one.origin.source for one in world.run(others.in_force(root))}
    assert (sources["welcome"], sources["menu_icon"], sources["menu_link"]) == ("panel", "panel", "default")
    file["welcome"] = "newer"
    assert world.run(mine.reload(root)).changed == ("welcome",)
    assert mine.current.welcome == "Hello\nall", "the text is still there"

    world.run(texts_there.withdraw(root, "welcome", reason="over"))

    worker.follow()
    world.run(texts.follow())
    assert mine.current.welcome == "newer"
    found = [row for row in rows(world) if row[0] == "game_text"]
    assert [row[3] for row in found] == [
        {"before": {"welcome": None}, "after": {"welcome": "Hello\nall"}},
        {"before": {"menu_icon": None}, "after": {"menu_icon": ""}},
        {"before": {"welcome": "Hello\nall"}, "after": {"welcome": None}},
    ]
    world.run(texts.set(root, "welcome", "again", reason="news"))
    assert mine.current.welcome == "again"


def test_texts_of_the_game_are_not_set_twice_and_are_checked(world: World, worker: Worker, root: Actor) -> None:
    texts = game_texts(worker, live_settings(worker, dict))
    act = texts.set
    found = both(world, act(root, "welcome", "Hi", reason="one"), act(root, "welcome", "Hi", reason="two"))
    assert found.count(WrongState) == 1
    for name, text in (("title", "Hi"), ("welcome", "x" * 501), ("welcome", "\x1b"), ("menu_link", "ftp://a")):
        with pytest.raises(Invalid):
            world.run(act(root, name, text, reason="a try"))
    with pytest.raises(WrongState, match="follows the setting"):
        world.run(texts.withdraw(root, "menu_icon", reason="a try"))
    assert [row[0] for row in rows(world)] == ["game_text"]


def test_settings_are_read_again_on_every_worker(world: World, worker: Worker, root: Actor) -> None:
    file: dict[str, Any] = {}
    other = Worker(world)
    mine, others = (live_settings(one, lambda: file) for one in (worker, other))
    for one, live in ((worker, mine), (other, others)):
        one.follow()
        world.run(live.follow())
    file |= {"welcome": "hello", "oldest_build": 20250101, "title": "Other", "port": 99}

    done = world.run(mine.reload(root))

    assert (done.changed, done.need_restart) == (("welcome", "oldest_build"), ("title",))
    assert (mine.current.welcome, mine.current.title, mine.current.port) == ("hello", "kiai", 8080)
    assert others.current.welcome == ""
    other.follow()
    world.run(others.follow())
    assert (others.current.welcome, others.current.oldest_build) == ("hello", 20250101)
    restarted = live_settings(other, lambda: file)
    for welcome in ("", "hello"):  # the start does not wait for the file, the job reads it
        world.run(restarted.follow())
        assert restarted.current.welcome == welcome
    [(action, _, _, details)] = rows(world)
    assert action == "reload"
    assert details == {
        "before": {"welcome": "", "oldest_build": 0},
        "after": {"welcome": "hello", "oldest_build": 20250101},
    }


@pytest.mark.parametrize("error", [Refused("no time"), OSError("no process")], ids=["refused", "system"])
def test_a_worker_that_could_not_read_the_settings_reads_them_later(
    world: World, worker: Worker, root: Actor, error: Exception
) -> None:
    failures: list[Exception] = []

    def found() -> dict[str, Any]:
        if failures:
            raise failures[0]
        return {"welcome": "hello"}

    other = Worker(world)
    live = live_settings(other, found)
    world.run(live.follow())
    world.run(live_settings(worker, found).reload(root))
    other.follow()
    failures.append(error)
    world.run(live.follow())
    failures.clear()

    world.clock.advance(RETRY_S - 1)
    world.run(live.follow())
    assert live.current.welcome == "", "the attempts have a pause, because each one starts a process"
    world.clock.advance(1)
    world.run(live.follow())

    assert live.current.welcome == "hello"


def test_settings_that_cannot_be_read_change_nothing(world: World, worker: Worker, root: Actor) -> None:
    file: dict[str, Any] = {"welcome": "hello", "wrong": True}
    live = live_settings(worker, lambda: file)
    with pytest.raises(Refused, match="title must be"):
        world.run(live.reload(root))
    alice = world.add_player(a_player(priv=ADMINISTRATOR))
    with pytest.raises(NotAllowed):
        world.run(live.reload(Actor(alice, "game")))
    assert (live.current.welcome, rows(world)) == ("", [])


def test_settings_in_force_have_their_origin_and_no_secret(world: World, worker: Worker, root: Actor) -> None:
    given = {
        "smtp": "smtp://kiai:hunter2@mail.example:587",
        "upstream_key": "hunter2",
        "mirrors": ("https://kiai:hunter2@mirror.example",),
        "menu_icon": "https://kiai:hunter2@club.example/menu.png",
        "nomination_mode": True,
    }
    live = LiveSettings(load_settings(**given), world.authority, worker.switches, world.clock)

    found = {one.origin.name: one for one in world.run(live.in_force(root))}

    assert {name: found[name].value for name in given} == {
        "smtp": f"smtp://{MASK}@mail.example:587",
        "upstream_key": MASK,
        "mirrors": f"https://{MASK}@mirror.example",
        "menu_icon": f"https://{MASK}@club.example/menu.png",
        "nomination_mode": "on",
    }
    assert (found["smtp"].origin.source, found["port"].origin.source) == ("flag", "default")
    assert (found["port"].value, found["state"].value, found["rank_medals"].value) == ("8080", "", "off")
    assert [name for name, one in found.items() if one.reloads] == list(RELOADED)


def test_settings_in_force_are_for_developers(world: World, worker: Worker) -> None:
    administrator = Actor(world.add_player(a_player(priv=ADMINISTRATOR)), "web")

    with pytest.raises(NotAllowed):
        world.run(LiveSettings(load_settings(), world.authority, worker.switches, world.clock).in_force(administrator))


def test_origin_of_a_setting_follows_a_reload(world: World, worker: Worker, root: Actor) -> None:
    async def read() -> Settings:
        return load_settings(welcome="Hello", port=1)

    live = LiveSettings(load_settings(), world.authority, worker.switches, world.clock, read)

    world.run(live.reload(root, "a new text"))

    found = {one.origin.name: one for one in world.run(live.in_force(root))}
    assert (found["welcome"].value, found["welcome"].origin.source) == ("Hello", "flag")
    assert (found["port"].value, found["port"].origin.source) == ("8080", "default")
