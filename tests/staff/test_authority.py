"""Rights and ranks that change while an act of staff is under way: the commit decides, on real transactions.

On PostgreSQL a barrier holds one transaction open while the other one waits for its lock. SQLite runs transactions one
after the other, in the order of the barrier.
"""

import ast
import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, cast

import pytest
from sqlalchemy import func, select
from tests.builders import DEVELOPER, NORMAL, World, a_map, a_player
from tests.clans.kit import icons_of
from tests.pausing import Pause, PausingDatabase

from kiai.accounts import queries, sanctions
from kiai.beatmaps import MapStatus
from kiai.beatmaps.model import Beatmap
from kiai.chat.channels import Channels
from kiai.chat.history import ChannelHistory
from kiai.chat.journal import Journal
from kiai.clans import ClanActs, ClanRules, Clans
from kiai.clans.model import JoinForm
from kiai.errors import NotAllowed, OutRanked
from kiai.osu.privileges import Privilege
from kiai.scores.evidence import Examiner
from kiai.scores.flags import Flags
from kiai.staff import OPERATOR, Actor
from kiai.staff.authority import HOLDERS_TO_CHECK
from kiai.staff.channel_desk import ChannelDesk
from kiai.staff.chat_bots import ChatBots
from kiai.staff.clans import ClanStaff
from kiai.staff.devices import Devices
from kiai.staff.donors import Donors
from kiai.staff.faq import Faq
from kiai.staff.flag_queue import FlagQueue
from kiai.staff.kicks import Kicks
from kiai.staff.map_requests import MapRequests, NominationRules
from kiai.staff.naming import Naming
from kiai.staff.notes import Notes
from kiai.staff.silences import Silences
from kiai.storage.port import Database
from kiai.storage.tables import audit_log, users

ADMINISTRATOR = int(NORMAL | Privilege.ADMINISTRATOR)


class Office:
    """A developer `boss`, who is about to lose the role, players, and a clan."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.run = world.run
        self.boss = world.add_player(a_player("boss", priv=DEVELOPER))
        world.add_player(a_player("root", priv=DEVELOPER))
        self.alice = world.add_player(a_player())
        self.bob = world.add_player(a_player("bob"))
        self.actor = Actor(self.boss, "game")
        database, accounts, authority, clock = world.database, world.accounts, world.authority, world.clock
        self.beatmap: Beatmap = world.add_map(a_map())

        async def nothing(*_: object) -> None:
            return None

        history = ChannelHistory(database, Journal(database, clock), clock)
        self.silences = Silences(accounts, authority, world.realtime, clock, lambda event: [], nothing, history)
        self.kicks = Kicks(authority, clock)
        self.notes = Notes(database, accounts, authority, clock)
        self.naming = Naming(accounts, authority, world.standing, clock)
        self.donors = Donors(accounts, authority, clock)
        self.chat_bots = ChatBots(database, accounts, authority, clock)
        self.faq = Faq(database, authority, clock)
        self.channels = ChannelDesk(database, authority, clock, Channels(database))
        self.devices = Devices(database, authority, clock)
        self.flags = Flags(database, clock)
        self.flag_queue = FlagQueue(authority, self.flags, cast(Examiner, None), clock)
        self.requests = MapRequests(database, authority, world.beatmaps, clock, NominationRules())
        self.acts = ClanActs(database, None, clock, ClanRules())
        self.clan_staff = ClanStaff(accounts, authority, self.acts, icons_of(world, self.acts), Clans(database), clock)
        self.clan = self.run(self.acts.found(self.alice, "owl", "Night Owls"))
        self.run(self.acts.edit(self.alice, self.clan, form=JoinForm.OPEN))
        self.run(self.acts.join(self.bob, self.clan))

    def restricted(self) -> int:
        self.run(self.world.restrictions.restrict(OPERATOR, self.alice, "because"))
        return self.alice

    def banned(self) -> int:
        self.run(self.world.restrictions.ban(OPERATOR, self.alice, "because"))
        return self.alice

    def frozen(self) -> int:
        self.run(self.world.restrictions.freeze(OPERATOR, self.alice, "because"))
        return self.alice

    def silenced(self) -> int:
        self.run(self.silences.silence(OPERATOR, self.alice, 600, "because"))
        return self.alice

    def donor(self) -> int:
        self.run(self.donors.give(OPERATOR, self.alice, 600))
        return self.alice

    def flag(self) -> int:
        self.run(self.flags.add(self.alice, "timewarp", checksum=b"1" * 16, details="fast"))
        return self.run(self.flags.page(limit=1))[0].id

    def rows(self) -> list[tuple[str, str]]:
        """Return actor's rows of the audit log: action and details."""
        found = select(audit_log.c.action, audit_log.c.details).where(audit_log.c.actor_id == self.boss)
        return [(action, details) for action, details in self.world.look(found)]


@pytest.fixture
def office(world: World) -> Office:
    return Office(world)


Verb = Callable[[Office], Callable[[], Coroutine[Any, Any, object]]]
R = "because"

ON_PLAYERS: Final[dict[str, Verb]] = {
    "silence": lambda o: lambda: o.silences.silence(o.actor, o.alice, 60, R),
    "unsilence": lambda o: (lambda id_: lambda: o.silences.unsilence(o.actor, id_, R))(o.silenced()),
    "kick": lambda o: lambda: o.kicks.kick(o.actor, o.alice, R),
    "restrict": lambda o: lambda: o.world.restrictions.restrict(o.actor, o.alice, R),
    "unrestrict": lambda o: (lambda id_: lambda: o.world.restrictions.unrestrict(o.actor, id_, R))(o.restricted()),
    "ban": lambda o: lambda: o.world.restrictions.ban(o.actor, o.alice, R),
    "unban": lambda o: (lambda id_: lambda: o.world.restrictions.unban(o.actor, id_, R))(o.banned()),
    "freeze": lambda o: lambda: o.world.restrictions.freeze(o.actor, o.alice, R),
    "unfreeze": lambda o: (lambda id_: lambda: o.world.restrictions.unfreeze(o.actor, id_, R))(o.frozen()),
    "rename": lambda o: lambda: o.naming.rename(o.actor, o.alice, "alicia"),
    "country": lambda o: lambda: o.naming.set_country(o.actor, o.alice, "se"),
    "donor_give": lambda o: lambda: o.donors.give(o.actor, o.alice, 60),
    "donor_take": lambda o: (lambda id_: lambda: o.donors.take(o.actor, id_, R))(o.donor()),
    "grant": lambda o: lambda: o.world.staff.grant(o.actor, "alice", ["nominator"]),
    "revoke": lambda o: lambda: o.world.staff.revoke(o.actor, "alice", ["verified"]),
    "whitelist": lambda o: lambda: o.world.staff.whitelist(o.actor, o.alice, R, on=True),
    "chat bot": lambda o: lambda: o.chat_bots.set(o.actor, "alice", on=True),
    "clan disband": lambda o: lambda: o.clan_staff.disband(o.actor, o.clan, R),
    "clan rename": lambda o: lambda: o.clan_staff.edit(o.actor, o.clan, name="Day Owls"),
    "clan transfer": lambda o: lambda: o.clan_staff.transfer(o.actor, o.clan, o.bob),
}
"""Acts on alice, or on the clan that she owns."""
OTHERS: Final[dict[str, Verb]] = {
    "note": lambda o: lambda: o.notes.add(o.actor, o.alice, "seen"),
    "notes": lambda o: lambda: o.notes.read(o.actor, o.alice),
    "devices": lambda o: (lambda user: lambda: o.devices.matches(o.actor, user))(o.world.user(o.alice)),
    "flag close": lambda o: (lambda id_: lambda: o.flag_queue.close(o.actor, id_, "clean"))(o.flag()),
    "faq": lambda o: lambda: o.faq.set(o.actor, "rules", "Be kind."),
    "channel add": lambda o: lambda: o.channels.add(o.actor, "#chess"),
    "channel topic": lambda o: lambda: o.channels.set_topic(o.actor, "#osu", "Hello"),
    "map status": lambda o: lambda: o.world.staff.set_map_status(o.actor, [o.beatmap], MapStatus.LOVED),
    "map of a request": lambda o: lambda: o.requests.set_status(o.actor, [o.beatmap], MapStatus.LOVED),
    "map freeze": lambda o: lambda: o.requests.set_frozen(o.actor, [o.beatmap], not o.beatmap.frozen),
    "clan kick": lambda o: lambda: o.clan_staff.kick(o.actor, o.clan, o.bob),
}


def overtaken(office: Office, act: Verb, change: Coroutine[Any, Any, object], pause: Pause) -> None:
    """Run an act while a change of an account has written its row, but not committed. Raises what the act raises."""
    verb = act(office)

    async def interleaved() -> None:
        changing = asyncio.create_task(change)
        await pause.reached(changing)
        acting = asyncio.create_task(verb())
        await pause.until_stuck(acting)
        pause.go()
        await changing
        await acting

    office.run(interleaved())


@pytest.mark.parametrize("verb", [*ON_PLAYERS, *OTHERS])
def test_staff_that_is_demoted_meanwhile_cannot_commit(office: Office, verb: str) -> None:
    act = (ON_PLAYERS | OTHERS)[verb](office)
    pause = Pause(office.world.database, queries.SET_PRIV)
    paused = World(cast(Database, PausingDatabase(pause)), office.run, office.world.folder)

    with pytest.raises(NotAllowed):
        overtaken(office, lambda _: act, paused.staff.revoke(OPERATOR, "boss", ["developer"]), pause)

    assert office.rows() == []


def test_staff_that_is_restricted_meanwhile_cannot_commit(office: Office) -> None:
    pause = Pause(office.world.database, sanctions.SET_STANDING)
    paused = World(cast(Database, PausingDatabase(pause)), office.run, office.world.folder)

    with pytest.raises(NotAllowed):
        overtaken(office, ON_PLAYERS["silence"], paused.restrictions.restrict(OPERATOR, office.boss, R), pause)

    assert office.rows() == []
    assert office.world.user(office.alice).silenced_until_ms == 0


@pytest.mark.parametrize("verb", ["silence", "restrict", "rename", "clan disband", "clan transfer"])
def test_a_target_that_is_promoted_meanwhile_is_out_of_reach_and_leaves_one_row(office: Office, verb: str) -> None:
    office.world.change(users.update().where(users.c.id == office.boss).values(priv=ADMINISTRATOR))
    pause = Pause(office.world.database, queries.SET_PRIV)
    paused = World(cast(Database, PausingDatabase(pause)), office.run, office.world.folder)

    with pytest.raises(OutRanked):
        overtaken(office, ON_PLAYERS[verb], paused.staff.grant(OPERATOR, "alice", ["administrator"]), pause)

    [(action, details)] = office.rows()
    assert action == "denied"
    assert f'"action":"{verb.replace(" ", "_") if verb != "clan transfer" else "clan_edit"}"' in details


def test_an_act_that_has_checked_its_actor_commits_before_the_demotion(office: Office) -> None:
    pause = Pause(office.world.database, HOLDERS_TO_CHECK)
    paused = World(cast(Database, PausingDatabase(pause)), office.run, office.world.folder)

    async def interleaved() -> None:
        acting = asyncio.create_task(paused.restrictions.restrict(office.actor, office.alice, R))
        await pause.reached(acting)
        demoting = asyncio.create_task(office.world.staff.revoke(OPERATOR, "boss", ["developer"]))
        await pause.until_stuck(demoting)
        assert not demoting.done()
        pause.go()
        await acting
        await demoting

    office.run(interleaved())

    actions = select(audit_log.c.action).where(audit_log.c.action.in_(("restrict", "privileges")))
    assert office.world.look(actions.order_by(audit_log.c.id)) == [("restrict",), ("privileges",)]


def test_two_developers_who_demote_each_other_do_not_both_succeed(office: Office) -> None:
    root = Actor(office.run(office.world.accounts.account("root")).id, "game")

    async def at_once() -> Sequence[object]:
        return await asyncio.gather(
            office.world.staff.revoke(office.actor, "root", ["developer"]),
            office.world.staff.revoke(root, "boss", ["developer"]),
            return_exceptions=True,
        )

    outcomes = office.run(at_once())

    assert len([one for one in outcomes if isinstance(one, NotAllowed)]) == 1
    developers = select(func.count()).select_from(users).where(users.c.priv.op("&")(int(Privilege.DEVELOPER)) != 0)
    assert office.world.look(developers) == [(1,)]


WITHOUT_A_RIGHT: Final = {
    "address_blocks.AddressBlocks.end_due": "a job, whose actor has every right",
    "authority.Authority.transaction": "it is the check",
    "authority.Authority.record_denied": "the row of a refusal",
    "map_requests.MapRequests.request": "an act of a player",
    "nominations.NominationMode._rank": "a job, whose actor has every right",
    "reports.Reports.send": "an act of a player",
    "service.Staff.record_import": "an act of the operator",
}


def test_acts_of_staff_run_their_transactions_through_the_authority() -> None:
    source = Path(__file__).parents[2] / "src" / "kiai"
    found = set()
    for path in [*(source / "staff").glob("*.py"), *(source / "faces").rglob("*.py")]:
        for class_ in [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]:
            if "_authority" not in ast.unparse(class_) and class_.name != "Authority":
                continue
            for method in class_.body:
                if isinstance(method, ast.AsyncFunctionDef) and "_database.transaction(" in ast.unparse(method):
                    found.add(f"{path.stem}.{class_.name}.{method.name}")

    assert found == set(WITHOUT_A_RIGHT)
