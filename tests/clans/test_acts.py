"""Acts in clans: each act, each refusal, and what is left afterwards."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.builders import NORMAL, NOW_MS, World, a_player
from tests.clans.kit import icons_of

from kiai.clans import ClanActs, ClanRules, Clans
from kiai.clans.history import ClanHistory
from kiai.clans.model import (
    ACTS_BURST,
    ACTS_PER_MINUTE,
    HOUR_MS,
    RESERVED_OF_ONE_MAX,
    WRONG_CODES_PER_HOUR,
    ClanJoined,
    JoinForm,
    MustWait,
    WrongClanCode,
)
from kiai.clans.upkeep import ClanUpkeep
from kiai.errors import Conflict, Invalid, KiaiError, LacksRole, NotAllowed, NotFound, Refused, TooOften, WrongState
from kiai.osu.privileges import Privilege
from kiai.realtime.rate_limiter import RateLimiter
from kiai.staff import OPERATOR
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority
from kiai.staff.clans import ClanStaff
from kiai.storage.tables import audit_log, clan_history, clan_invitations, clan_requests, clans, outbox, users

UNKNOWN = 99
NAMES = ("alice", "bob", "carol", "dave", "erin", "admin")
ADMIN = NORMAL | int(Privilege.ADMINISTRATOR)


class ClanWorld:
    """A clan of alice (owner), bob (officer) and carol (member); dave and erin have none."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.run = world.run
        self.rules = ClanRules(members_max=4)
        limiter = RateLimiter(world.realtime, world.clock)
        self.acts = ClanActs(world.database, limiter, world.clock, self.rules)
        self.clans = Clans(world.database)
        self.history = ClanHistory(world.database, world.accounts)
        self.upkeep = ClanUpkeep(world.database, self.acts, world.clock)
        authority = Authority(world.database, world.accounts, world.clock)
        self.staff = ClanStaff(
            world.accounts, authority, self.acts, icons_of(world, self.acts), self.clans, world.clock
        )
        ids = [world.add_player(a_player(name, priv=ADMIN if name == "admin" else NORMAL)) for name in NAMES]
        self.alice, self.bob, self.carol, self.dave, self.erin, self.admin = ids
        self.id = self.run(self.acts.found(self.alice, "owl", "Night Owls"))
        for member in (self.bob, self.carol):
            self.enter(member)
        self.run(self.acts.promote(self.alice, self.id, self.bob))

    def enter(self, user_id: int) -> None:
        self.run(self.acts.invite(self.alice, self.id, user_id))
        self.run(self.acts.join(user_id, self.id))

    def form(self, form: JoinForm) -> None:
        self.run(self.acts.edit(self.alice, self.id, form=form))

    def members(self) -> dict[int, int]:
        rows = self.world.look(select(users.c.id, users.c.clan_priv).where(users.c.clan_id == self.id))
        return dict(rows)

    def change_user(self, user_id: int, **values: Any) -> None:
        self.world.change(update(users).where(users.c.id == user_id).values(**values))

    def refusal(self, act: Coroutine[Any, Any, object]) -> KiaiError:
        with pytest.raises(KiaiError) as caught:
            self.run(act)
        return caught.value

    def kinds(self) -> list[str]:
        return [kind for (kind,) in self.world.look(select(clan_history.c.kind).order_by(clan_history.c.id))]

    def notices(self) -> int:
        return len(self.world.look(select(outbox.c.id)))

    def audited(self) -> list[tuple[str, int]]:
        rows = self.world.look(
            select(audit_log.c.action, audit_log.c.actor_id).where(audit_log.c.target_kind == "clan")
        )
        return [(action, actor) for action, actor in rows]


@pytest.fixture
def clan(world: World) -> ClanWorld:
    return ClanWorld(world)


def test_the_founder_is_the_owner_and_the_tag_is_stored_in_upper_case(clan: ClanWorld) -> None:
    found = clan.run(clan.clans.clan(clan.id))

    assert (found.tag, found.name, found.owner_id) == ("OWL", "Night Owls", clan.alice)
    assert JoinForm(found.joining) is JoinForm.INVITE
    assert clan.members() == {clan.alice: 3, clan.bob: 2, clan.carol: 1}
    assert clan.kinds() == ["found", "join", "join", "promote"]


Act = Callable[[ClanWorld], Coroutine[Any, Any, object]]

REFUSALS: list[tuple[str, Act, type[KiaiError], str]] = [
    ("a tag that is taken", lambda c: c.acts.found(c.dave, "OWL", "Others"), Conflict, "tag is already taken"),
    ("a name in another spelling", lambda c: c.acts.found(c.dave, "X", "night_owls"), Conflict, "name is already"),
    ("a tag with a blank", lambda c: c.acts.found(c.dave, "A B", "Others"), Invalid, "tag"),
    ("a tag of seven characters", lambda c: c.acts.found(c.dave, "ABCDEFG", "Others"), Invalid, "tag"),
    ("a tag of other letters", lambda c: c.acts.found(c.dave, "é", "Others"), Invalid, "tag"),
    ("a name of one character", lambda c: c.acts.found(c.dave, "X", "O"), Invalid, "name"),
    ("a name of seventeen characters", lambda c: c.acts.found(c.dave, "X", "O" * 17), Invalid, "name"),
    ("a second clan", lambda c: c.acts.found(c.bob, "X", "Others"), WrongState, "you are already in a clan"),
    ("joining without an invitation", lambda c: c.acts.join(c.dave, c.id), LacksRole, "no invitation"),
    ("joining twice", lambda c: c.acts.join(c.carol, c.id), WrongState, "you are already in a clan"),
    ("a clan that does not exist", lambda c: c.acts.join(c.dave, UNKNOWN), NotFound, "clan not found"),
    ("a wrong code", lambda c: c.acts.join(c.dave, c.id, code="0" * 12), WrongClanCode, "no invitation"),
    ("an unknown code", lambda c: c.acts.join_by_code(c.dave, "0" * 12), WrongClanCode, "no invitation"),
    ("an empty code", lambda c: c.acts.join_by_code(c.dave, ""), WrongClanCode, "no invitation"),
    ("withdrawing no request", lambda c: c.acts.withdraw(c.dave, c.id), NotFound, "request not found"),
    ("leaving as the owner", lambda c: c.acts.leave(c.alice, c.id), WrongState, "the owner can't leave"),
    ("leaving without a clan", lambda c: c.acts.leave(c.dave, c.id), WrongState, "you are not in a clan"),
    ("an invitation by a member", lambda c: c.acts.invite(c.carol, c.id, c.dave), LacksRole, "only officers"),
    ("an invitation by a stranger", lambda c: c.acts.invite(c.dave, c.id, c.erin), LacksRole, "only officers"),
    ("an invitation of a member", lambda c: c.acts.invite(c.bob, c.id, c.carol), WrongState, "already in a clan"),
    ("an invitation of the bot", lambda c: c.acts.invite(c.bob, c.id, 1), Refused, "to the bot"),
    ("an invitation of nobody", lambda c: c.acts.invite(c.bob, c.id, 999), NotFound, "player not found"),
    ("the code for a member", lambda c: c.acts.code(c.carol, c.id), LacksRole, "only officers"),
    ("the requests for a member", lambda c: c.acts.requests(c.carol, c.id), LacksRole, "only officers"),
    ("an answer without a request", lambda c: c.acts.answer(c.bob, c.id, c.dave, accept=True), NotFound, "request"),
    ("an officer who removes the owner", lambda c: c.acts.kick(c.bob, c.id, c.alice), LacksRole, "only the owner"),
    ("a member who removes somebody", lambda c: c.acts.kick(c.carol, c.id, c.bob), LacksRole, "only officers"),
    ("removing oneself", lambda c: c.acts.kick(c.bob, c.id, c.bob), Refused, "to yourself"),
    ("removing a stranger", lambda c: c.acts.kick(c.bob, c.id, c.dave), NotFound, "member"),
    ("promoting as an officer", lambda c: c.acts.promote(c.bob, c.id, c.carol), LacksRole, "only the owner"),
    ("promoting an officer", lambda c: c.acts.promote(c.alice, c.id, c.bob), WrongState, "already an officer"),
    ("demoting a member", lambda c: c.acts.demote(c.alice, c.id, c.carol), WrongState, "already a member"),
    ("demoting the owner", lambda c: c.acts.demote(c.alice, c.id, c.alice), WrongState, "already the owner"),
    ("a transfer to a stranger", lambda c: c.acts.transfer(c.alice, c.id, c.dave), NotFound, "member"),
    ("a transfer by an officer", lambda c: c.acts.transfer(c.bob, c.id, c.carol), LacksRole, "only the owner"),
    ("a transfer to oneself", lambda c: c.acts.transfer(c.alice, c.id, c.alice), WrongState, "already the owner"),
    ("disbanding as an officer", lambda c: c.acts.disband(c.bob, c.id), LacksRole, "only the owner"),
    ("disbanding as a stranger", lambda c: c.acts.disband(c.dave, c.id), LacksRole, "only the owner"),
    ("the same tag", lambda c: c.acts.edit(c.alice, c.id, tag="owl"), WrongState, "already OWL"),
    ("the same name", lambda c: c.acts.edit(c.alice, c.id, name="Night Owls"), WrongState, "already Night Owls"),
    ("the same form", lambda c: c.acts.edit(c.alice, c.id, form=JoinForm.INVITE), WrongState, "already by invitation"),
    ("a new tag by an officer", lambda c: c.acts.edit(c.bob, c.id, tag="X"), LacksRole, "only the owner"),
    ("staff without the right", lambda c: c.staff.disband(Actor(c.dave, "api"), c.id), NotAllowed, "clans.manage_any"),
]


def test_refused_acts_say_why_and_change_nothing(clan: ClanWorld) -> None:
    before = clan.members(), clan.kinds(), clan.world.look(select(clans)), clan.world.look(select(outbox.c.id))
    for about, act, kind, text in REFUSALS:
        refused = clan.refusal(act(clan))
        assert (type(refused), text in str(refused)) == (kind, True), (about, refused)
    after = clan.members(), clan.kinds(), clan.world.look(select(clans)), clan.world.look(select(outbox.c.id))
    assert after == before


@pytest.mark.parametrize(
    ("values", "kind", "text"),
    [
        ({"priv": int(Privilege.VERIFIED)}, NotAllowed, "unrestricted"),
        ({"priv": int(Privilege.UNRESTRICTED)}, NotAllowed, "verified"),
        ({"silenced_until_ms": NOW_MS + 1}, LacksRole, "you are silenced"),
        ({"clan_left_at_ms": NOW_MS - 23 * HOUR_MS}, MustWait, "wait another 1 hour"),
    ],
)
def test_who_may_not_join_may_not_found_either(
    clan: ClanWorld, values: dict[str, int], kind: type[KiaiError], text: str
) -> None:
    clan.form(JoinForm.OPEN)
    clan.change_user(clan.dave, **values)

    for act in (
        clan.acts.join(clan.dave, clan.id),
        clan.acts.found(clan.dave, "NEW", "Newcomers"),
        clan.acts.check_may_enter(clan.dave),
    ):
        refused = clan.refusal(act)
        assert (type(refused), text in str(refused)) == (kind, True), refused


def test_the_form_decides_who_joins(clan: ClanWorld) -> None:
    code = clan.run(clan.acts.code(clan.bob, clan.id))
    clan.run(clan.acts.invite(clan.bob, clan.id, clan.dave))

    clan.form(JoinForm.CLOSED)
    closed = [
        clan.acts.join(clan.dave, clan.id),
        clan.acts.join(clan.erin, clan.id),
        clan.acts.join_by_code(clan.erin, code),
        clan.acts.invite(clan.bob, clan.id, clan.erin),
    ]
    assert {str(clan.refusal(act)) for act in closed} == {"the clan is closed"}

    clan.form(JoinForm.REQUEST)
    assert clan.run(clan.acts.join(clan.dave, clan.id)).state == "joined"  # invited
    clan.run(clan.acts.kick(clan.bob, clan.id, clan.dave))
    assert clan.run(clan.acts.join(clan.erin, clan.id)).state == "requested"
    assert "already asked" in str(clan.refusal(clan.acts.join(clan.erin, clan.id)))
    assert [one.name for one in clan.run(clan.acts.requests(clan.bob, clan.id))] == ["erin"]
    clan.run(clan.acts.answer(clan.bob, clan.id, clan.erin, accept=False))
    assert clan.run(clan.acts.requests(clan.bob, clan.id)) == []
    clan.run(clan.acts.join(clan.erin, clan.id))
    clan.run(clan.acts.answer(clan.bob, clan.id, clan.erin, accept=True))
    assert clan.members()[clan.erin] == 1

    clan.run(clan.acts.kick(clan.bob, clan.id, clan.erin))
    clan.change_user(clan.erin, clan_left_at_ms=None)
    clan.form(JoinForm.OPEN)
    assert clan.run(clan.acts.join(clan.erin, clan.id)).state == "joined"


def test_a_new_code_makes_the_old_one_worthless(clan: ClanWorld) -> None:
    code = clan.run(clan.acts.code(clan.bob, clan.id))
    assert clan.run(clan.acts.code(clan.alice, clan.id)) == code
    new = clan.run(clan.acts.code(clan.alice, clan.id, reset=True, seen=code))
    assert clan.run(clan.acts.code(clan.alice, clan.id, reset=True, seen=code)) == new, "the same form again"
    assert clan.run(clan.acts.code(clan.alice, clan.id, reset=True, seen="")) == new
    new = clan.run(clan.acts.code(clan.alice, clan.id, reset=True))

    assert isinstance(clan.refusal(clan.acts.join_by_code(clan.dave, code)), LacksRole)
    assert clan.run(clan.acts.join_by_code(clan.dave, new.upper())).state == "joined"


def test_acts_that_others_learn_of_are_bounded(clan: ClanWorld) -> None:
    clan.world.clock.advance(60.0 * ACTS_BURST / ACTS_PER_MINUTE)  # the fixture has used some
    for number in range(ACTS_BURST):
        role = clan.acts.demote if number % 2 == 0 else clan.acts.promote
        clan.run(role(clan.alice, clan.id, clan.bob))
    before = clan.notices()

    refusals = [
        clan.refusal(act)
        for act in (
            clan.acts.demote(clan.alice, clan.id, clan.bob),
            clan.acts.invite(clan.alice, clan.id, clan.dave),
            clan.acts.kick(clan.alice, clan.id, clan.carol),
            clan.acts.transfer(clan.alice, clan.id, clan.bob),
            clan.acts.edit(clan.alice, clan.id, form=JoinForm.OPEN),
            clan.acts.disband(clan.alice, clan.id),
        )
    ]

    assert [type(refusal) for refusal in refusals] == [TooOften] * len(refusals)
    assert clan.notices() == before
    clan.run(clan.acts.invite(clan.bob, clan.id, clan.dave))  # another author
    clan.world.clock.advance(60.0 / ACTS_PER_MINUTE)
    clan.run(clan.acts.demote(clan.alice, clan.id, clan.bob))


def test_failed_acts_do_not_count(clan: ClanWorld) -> None:
    for _ in range(2 * ACTS_BURST):
        assert isinstance(clan.refusal(clan.acts.promote(clan.alice, clan.id, clan.bob)), WrongState)


def test_guesses_of_codes_are_bounded(clan: ClanWorld) -> None:
    code = clan.run(clan.acts.code(clan.bob, clan.id))
    for number in range(WRONG_CODES_PER_HOUR):
        clan.refusal(clan.acts.join_by_code(clan.dave, f"{number:012}"))

    assert "too many wrong codes" in str(clan.refusal(clan.acts.join_by_code(clan.dave, code)))
    assert "too many wrong codes" in str(clan.refusal(clan.acts.join(clan.dave, clan.id, code=code)))
    assert clan.run(clan.acts.join_by_code(clan.erin, code)).state == "joined"


def test_guesses_of_codes_at_the_same_time_are_bounded(clan: ClanWorld) -> None:
    async def guesses() -> list[BaseException | ClanJoined]:
        acts = [clan.acts.join_by_code(clan.dave, f"{number:012}") for number in range(3 * WRONG_CODES_PER_HOUR)]
        return await asyncio.gather(*acts, return_exceptions=True)

    answers = clan.run(guesses())

    assert sum(isinstance(answer, WrongClanCode) for answer in answers) == WRONG_CODES_PER_HOUR


def test_a_right_code_costs_no_guess(clan: ClanWorld) -> None:
    code = clan.run(clan.acts.code(clan.bob, clan.id))
    for number in range(WRONG_CODES_PER_HOUR - 1):
        clan.refusal(clan.acts.join_by_code(clan.dave, f"{number:012}"))
    assert clan.run(clan.acts.join_by_code(clan.dave, code)).state == "joined"
    clan.refusal(clan.acts.join_by_code(clan.dave, code))  # in a clan already: nothing is learned about the code

    assert isinstance(clan.refusal(clan.acts.join_by_code(clan.dave, "0" * 12)), WrongClanCode)


def test_a_full_clan_takes_nobody(clan: ClanWorld) -> None:
    clan.run(clan.acts.invite(clan.alice, clan.id, clan.dave))
    clan.enter(clan.erin)
    clan.change_user(clan.carol, priv=int(Privilege.VERIFIED))  # a restricted member keeps the seat

    assert str(clan.refusal(clan.acts.join(clan.dave, clan.id))) == "the clan is full"


def test_joining_ends_all_invitations_and_requests_of_the_player(clan: ClanWorld) -> None:
    other = clan.run(clan.acts.found(clan.erin, "CAT", "Cats"))
    clan.run(clan.acts.edit(clan.erin, other, form=JoinForm.REQUEST))
    clan.run(clan.acts.join(clan.dave, other))
    clan.enter(clan.dave)

    assert clan.world.look(select(clan_requests)) == clan.world.look(select(clan_invitations)) == []
    assert isinstance(clan.refusal(clan.acts.answer(clan.erin, other, clan.dave, accept=True)), NotFound)


def test_a_withdrawn_request_cannot_be_accepted(clan: ClanWorld) -> None:
    clan.form(JoinForm.REQUEST)
    clan.run(clan.acts.join(clan.dave, clan.id))

    clan.run(clan.acts.withdraw(clan.dave, clan.id))

    assert isinstance(clan.refusal(clan.acts.answer(clan.bob, clan.id, clan.dave, accept=True)), NotFound)
    assert clan.world.look(select(clan_requests)) == []


def test_invitations_end_after_a_week(clan: ClanWorld) -> None:
    clan.run(clan.acts.invite(clan.alice, clan.id, clan.dave))
    assert "already invited" in str(clan.refusal(clan.acts.invite(clan.bob, clan.id, clan.dave)))
    clan.world.clock.advance(7 * 86_400)

    assert isinstance(clan.refusal(clan.acts.join(clan.dave, clan.id)), LacksRole)
    clan.run(clan.upkeep.run())
    assert clan.world.look(select(clan_invitations)) == []


def test_after_leaving_a_player_waits_for_a_day(clan: ClanWorld) -> None:
    clan.run(clan.acts.leave(clan.carol, clan.id))
    clan.run(clan.acts.invite(clan.alice, clan.id, clan.carol))
    assert isinstance(clan.refusal(clan.acts.join(clan.carol, clan.id)), WrongState)
    clan.world.clock.advance(86_400)

    assert clan.run(clan.acts.join(clan.carol, clan.id)).state == "joined"


def test_a_transfer_makes_the_owner_an_officer(clan: ClanWorld) -> None:
    clan.run(clan.acts.transfer(clan.alice, clan.id, clan.carol))

    assert clan.members() == {clan.alice: 2, clan.bob: 2, clan.carol: 3}
    assert clan.run(clan.clans.clan(clan.id)).owner_id == clan.carol


def test_a_disbanded_clan_leaves_its_history_and_reserves_its_names(clan: ClanWorld) -> None:
    clan.run(clan.acts.invite(clan.alice, clan.id, clan.dave))
    clan.run(clan.acts.disband(clan.alice, clan.id))

    assert clan.members() == {}
    assert isinstance(clan.refusal(clan.clans.clan(clan.id)), NotFound)
    entries, _, total = clan.run(clan.history.page(clan.id, limit=50))
    assert (entries[0].kind, entries[0].actor, total) == ("disband", (clan.alice, "alice"), 5)
    assert isinstance(clan.refusal(clan.acts.found(clan.dave, "owl", "Others")), Conflict)
    assert isinstance(clan.refusal(clan.acts.found(clan.dave, "X", "Night_Owls")), Conflict)
    assert "wait another" in str(clan.refusal(clan.acts.found(clan.alice, "Y", "Others")))
    assert clan.run(clan.acts.found(clan.bob, "Z", "Others"))  # only the owner waits

    clan.world.clock.advance(30 * 86_400)
    clan.run(clan.upkeep.run())
    assert clan.run(clan.acts.found(clan.dave, "owl", "Night Owls")) != clan.id
    clan.world.clock.advance(90 * 86_400)
    clan.run(clan.upkeep.run())
    assert clan.run(clan.history.page(clan.id, limit=50)) == ([], 0, 0)


def test_a_former_name_and_tag_are_free_for_the_clan_itself_only(clan: ClanWorld) -> None:
    clan.run(clan.acts.edit(clan.alice, clan.id, tag="cat", name="Cats"))
    assert isinstance(clan.refusal(clan.acts.found(clan.dave, "owl", "Others")), Conflict)
    assert "renamed recently" in str(clan.refusal(clan.acts.edit(clan.alice, clan.id, name="Dogs")))

    clan.run(clan.acts.edit(clan.alice, clan.id, tag="owl"))
    clan.world.clock.advance(30 * 86_400)
    clan.run(clan.acts.edit(clan.alice, clan.id, name="Night Owls"))
    found = clan.run(clan.clans.clan(clan.id))
    assert (found.tag, found.name) == ("OWL", "Night Owls")


def test_restricted_members_keep_their_role_and_cannot_act(clan: ClanWorld) -> None:
    clan.change_user(clan.bob, priv=int(Privilege.VERIFIED))

    acts = [
        clan.acts.invite(clan.bob, clan.id, clan.dave),
        clan.acts.kick(clan.bob, clan.id, clan.carol),
        clan.acts.leave(clan.bob, clan.id),
    ]
    assert {type(clan.refusal(act)) for act in acts} == {NotAllowed}
    assert clan.members()[clan.bob] == 2
    assert [member.name for member in clan.run(clan.clans.members(clan.id))] == ["alice", "carol"]
    entries, _, _ = clan.run(clan.history.page(clan.id, limit=50))
    assert "bob" not in str(entries)


def test_the_clan_of_an_owner_who_is_restricted_for_a_month_goes_to_a_visible_member(clan: ClanWorld) -> None:
    clan.world.run(clan.world.restrictions.restrict(OPERATOR, "alice", "because"))
    clan.run(clan.upkeep.run())
    clan.world.clock.advance(30 * 86_400 - 1)
    clan.run(clan.upkeep.run())
    assert clan.members()[clan.alice] == 3
    clan.change_user(clan.bob, priv=int(Privilege.VERIFIED))
    clan.world.clock.advance(1)
    clan.run(clan.upkeep.run())

    assert clan.members() == {clan.alice: 2, clan.bob: 2, clan.carol: 3}
    assert clan.kinds()[-1] == "inherit"


def test_a_restriction_that_ends_in_time_changes_no_owner(clan: ClanWorld) -> None:
    clan.world.run(clan.world.restrictions.restrict(OPERATOR, "alice", "because"))
    clan.run(clan.upkeep.run())
    clan.world.clock.advance(20 * 86_400)
    clan.world.run(clan.world.restrictions.unrestrict(OPERATOR, "alice"))
    clan.run(clan.upkeep.run())
    clan.world.run(clan.world.restrictions.restrict(OPERATOR, "alice", "because"))
    clan.run(clan.upkeep.run())
    clan.world.clock.advance(20 * 86_400)
    clan.run(clan.upkeep.run())

    assert clan.members()[clan.alice] == 3


def test_each_act_of_staff_writes_one_row_and_acts_of_members_write_none(clan: ClanWorld) -> None:
    clan.run(clan.acts.edit(clan.alice, clan.id, form=JoinForm.OPEN))
    assert clan.audited() == []

    actor = Actor(clan.admin, "api")
    clan.run(clan.staff.edit(actor, clan.id, tag="CAT", name="Cats"))
    clan.run(clan.staff.edit(actor, clan.id, name="Dogs"))  # the wait is for the owner
    clan.run(clan.staff.kick(actor, clan.id, clan.bob))
    clan.run(clan.staff.transfer(OPERATOR, clan.id, clan.carol))
    clan.run(clan.staff.disband(actor, clan.id, "because"))
    founded = clan.run(clan.staff.found(OPERATOR, clan.carol, "NEW", "News"))  # the operator's clans need no wait

    assert clan.audited() == [
        ("clan_edit", clan.admin),
        ("clan_edit", clan.admin),
        ("clan_edit", clan.admin),
        ("clan_edit", 0),
        ("clan_disband", clan.admin),
        ("clan_edit", 0),
    ]
    assert clan.run(clan.clans.clan(founded)).owner_id == clan.carol


def test_administrators_cannot_act_on_the_clan_of_a_higher_role(clan: ClanWorld) -> None:
    clan.change_user(clan.alice, priv=NORMAL | int(Privilege.DEVELOPER))

    refused = clan.refusal(clan.staff.disband(Actor(clan.admin, "api"), clan.id))

    assert "only a higher role" in str(refused)
    assert clan.world.look(select(audit_log.c.action).where(audit_log.c.actor_id == clan.admin)) == [("denied",)]


def outcomes(clan: ClanWorld, *acts: Coroutine[Any, Any, object]) -> list[str]:
    """Run acts at the same time. Return the sorted names of their errors, "" for success."""

    async def all_at_once() -> list[object]:
        # Opens connections first: otherwise the first act ends before the others have one.
        await asyncio.gather(*[clan.acts.code(clan.alice, clan.id) for _ in range(2 * len(acts))])
        return await asyncio.gather(*acts, return_exceptions=True)

    results = clan.run(all_at_once())
    return sorted(type(one).__name__ if isinstance(one, Exception) else "" for one in results)


def test_of_players_who_take_the_last_seat_at_once_exactly_one_gets_it(clan: ClanWorld) -> None:
    clan.form(JoinForm.OPEN)
    players = [clan.world.add_player(a_player(f"player{number}")) for number in range(8)]

    found = outcomes(clan, *[clan.acts.join(player, clan.id) for player in players])

    assert found == ["", *["WrongState"] * 7]
    assert len(clan.members()) == clan.rules.members_max


def test_of_clans_with_one_tag_that_are_founded_at_once_exactly_one_exists(clan: ClanWorld) -> None:
    players = [clan.world.add_player(a_player(f"player{number}")) for number in range(6)]

    found = outcomes(clan, *[clan.acts.found(player, "new", f"Clan {player}") for player in players])

    assert found == ["", *["Conflict"] * 5]


def test_a_player_who_joins_two_clans_at_once_is_in_one(clan: ClanWorld) -> None:
    clan.form(JoinForm.OPEN)
    other = clan.run(clan.acts.found(clan.erin, "CAT", "Cats"))
    clan.run(clan.acts.edit(clan.erin, other, form=JoinForm.OPEN))

    found = outcomes(clan, clan.acts.join(clan.dave, clan.id), clan.acts.join(clan.dave, other))

    assert found == ["", "WrongState"]


def test_a_transfer_and_leaving_at_once_keep_exactly_one_owner(clan: ClanWorld) -> None:
    outcomes(clan, clan.acts.transfer(clan.alice, clan.id, clan.bob), clan.acts.leave(clan.bob, clan.id))

    owner = clan.run(clan.clans.clan(clan.id)).owner_id
    assert [member for member, role in clan.members().items() if role == 3] == [owner]


def test_a_reservation_is_never_given_up_for_another_one(clan: ClanWorld) -> None:
    tags = [f"OWL{n}" for n in range(RESERVED_OF_ONE_MAX)]
    for tag in tags:
        clan.run(clan.acts.edit(clan.alice, clan.id, tag=tag))

    refusal = clan.refusal(clan.acts.edit(clan.alice, clan.id, tag="LAST"))

    assert isinstance(refusal, WrongState)
    assert "already reserves 10" in str(refusal)
    for tag in ["OWL", *tags]:
        assert isinstance(clan.refusal(clan.acts.found(clan.dave, tag, "Others")), Conflict), tag
    clan.run(clan.acts.edit(clan.alice, clan.id, tag="OWL"))  # its own former tag needs no further reservation
    clan.run(clan.staff.edit(Actor(clan.admin, "game"), clan.id, tag="STAFF"))
    clan.run(clan.acts.disband(clan.alice, clan.id))
    for tag in ["OWL", "STAFF", *tags]:
        assert isinstance(clan.refusal(clan.acts.found(clan.dave, tag, "Others")), Conflict), tag

    clan.world.clock.advance(30 * 86_400)
    clan.run(clan.acts.found(clan.dave, "OWL", "Others"))


def test_clan_needs_a_confirmed_address_where_the_operator_asks_for_it(clan: ClanWorld) -> None:
    strict = ClanActs(clan.world.database, None, clan.world.clock, ClanRules(verifies_email=True))
    assert "confirm your e-mail address first" in str(clan.refusal(strict.found(clan.dave, "NEW", "New")))

    clan.world.change(update(users).where(users.c.id == clan.dave).values(email_verified_at_ms=1))

    assert clan.run(strict.found(clan.dave, "NEW", "New")) > clan.id


def test_the_owner_changes_the_description(clan: ClanWorld) -> None:
    clan.run(clan.acts.edit(clan.alice, clan.id, description="One\r\ntwo\n"))
    assert clan.run(clan.clans.clan(clan.id)).description == "One\ntwo"
    clan.run(clan.acts.edit(clan.alice, clan.id, description=" Awake <b>at night</b> "))
    assert clan.run(clan.clans.clan(clan.id)).description == "Awake <b>at night</b>"

    assert isinstance(clan.refusal(clan.acts.edit(clan.bob, clan.id, description="x")), LacksRole)
    for wrong in ("x" * 501, "two\rlines", "\x00"):
        assert isinstance(clan.refusal(clan.acts.edit(clan.alice, clan.id, description=wrong)), Invalid)
    same = clan.refusal(clan.acts.edit(clan.alice, clan.id, description="Awake <b>at night</b>"))
    assert "already has this description" in str(same)

    clan.run(clan.staff.edit(Actor(clan.admin, "game"), clan.id, description=""))
    assert clan.run(clan.clans.clan(clan.id)).description == ""
    assert clan.audited() == [("clan_edit", clan.admin)]
