"""Profile settings and privacy: values, the country and its wait, and the sessions in the game."""

import pytest
from sqlalchemy import select
from tests.builders import a_map, a_play
from tests.own_account.conftest import OwnAccounts

from kiai.accounts.model import Privacy
from kiai.errors import Invalid, NotFound, Refused
from kiai.own_account.profile import CountryTooEarly
from kiai.storage.tables import scores, stats, users


def save(own: OwnAccounts, country: str = "nl", mode: int = 0, style: int = 0) -> None:
    own.run(own.profile.save(own.alice, preferred_mode=mode, play_style=style, country=country))


def test_settings_are_stored(own: OwnAccounts) -> None:
    save(own, mode=8, style=5)

    user = own.user(own.alice)
    assert (user.preferred_mode, user.play_style, user.country) == (8, 5, "nl")
    assert own.actions(own.alice) == ["profile"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"mode": 7}, "preferred_mode"), ({"style": 16}, "play_style"), ({"country": "qq"}, "country"),
     ({"country": "xx"}, "country"), ({"country": "nld"}, "country")],
)  # fmt: skip
def test_value_outside_its_range_changes_nothing(own: OwnAccounts, changes: dict[str, object], field: str) -> None:
    given = {"country": "fr", "mode": 3, "style": 1} | changes

    with pytest.raises(Invalid) as refused:
        save(own, **given)  # type: ignore[arg-type]

    user = own.user(own.alice)
    assert refused.value.field == field
    assert (user.preferred_mode, user.play_style, user.country) == (0, 0, "nl")


def test_country_moves_ranks_scores_and_sessions(own: OwnAccounts) -> None:
    own.world.record(a_play(by=own.alice, on=own.world.add_map(a_map())))
    own.log_in(own.alice)

    save(own, country="FR")
    own.world.reconcile()

    assert own.user(own.alice).country == "fr"
    assert own.world.look(select(stats.c.country)) == [("fr",)]
    assert own.world.look(select(scores.c.country)) == [("fr",)]
    assert [session.country for session in own.sessions(own.alice)] == ["fr"]
    assert own.actions(own.alice) == ["country"]


def test_country_changes_once_in_ninety_days(own: OwnAccounts) -> None:
    save(own, country="fr")
    own.advance_days(89.9)
    with pytest.raises(CountryTooEarly) as early:
        save(own, country="de", mode=1)
    assert early.value.next_ms == own.profile.country_wait_ms(own.user(own.alice))
    assert own.user(own.alice).preferred_mode == 0
    save(own, country="fr", mode=2)  # the other settings can be changed meanwhile
    own.advance_days(0.2)

    save(own, country="de")
    assert own.user(own.alice).country == "de"
    assert own.user(own.alice).preferred_mode == 0


def test_hidden_country_is_shown_nowhere_and_comes_back(own: OwnAccounts) -> None:
    own.world.record(a_play(by=own.alice, on=own.world.add_map(a_map())))
    own.log_in(own.alice)

    own.run(own.profile.save_privacy(own.alice, Privacy(0), hide_country=True))
    own.world.reconcile()
    user = own.user(own.alice)
    hidden = (user.country, user.own_country, own.sessions(own.alice)[0].country)
    rows = own.world.look(select(stats.c.country)) + own.world.look(select(scores.c.country))
    own.run(own.profile.save_privacy(own.alice, Privacy(0), hide_country=False))

    assert hidden == ("xx", "nl", "xx")
    assert rows == [("xx",), ("xx",)]
    assert own.user(own.alice).country == "nl"
    assert own.user(own.alice).home_country is None


def test_hidden_country_can_be_changed_and_stays_hidden(own: OwnAccounts) -> None:
    own.run(own.profile.save_privacy(own.alice, Privacy(0), hide_country=True))

    save(own, country="fr")

    assert (own.user(own.alice).country, own.user(own.alice).own_country) == ("xx", "fr")
    own.run(own.profile.save_privacy(own.alice, Privacy(0), hide_country=False))
    assert own.user(own.alice).country == "fr"


def test_login_does_not_set_the_country_of_a_player_who_hides_it(own: OwnAccounts) -> None:
    own.run(own.profile.save_privacy(own.alice, Privacy(0), hide_country=True))

    async def log_in() -> bool:
        return await own.world.database.transaction(
            lambda tx: own.world.accounts.set_first_country(tx, own.alice, "us")
        )

    assert own.run(log_in()) is False
    assert own.user(own.alice).country == "xx"


def test_only_friends_may_write_while_the_game_or_the_website_says_so(own: OwnAccounts) -> None:
    accounts = own.world.accounts
    own.log_in(own.alice)

    own.run(own.profile.save_privacy(own.alice, Privacy.FRIENDS_ONLY, hide_country=False))
    by_site = own.sessions(own.alice)[0].friends_only_dms
    still = own.run(accounts.set_friends_only_dms(own.alice, False))
    own.run(own.profile.save_privacy(own.alice, Privacy(0), hide_country=False))
    nobody = own.sessions(own.alice)[0].friends_only_dms
    by_game = own.run(accounts.set_friends_only_dms(own.alice, True))
    own.run(own.profile.save_privacy(own.alice, Privacy(0), hide_country=False))

    assert (by_site, still, nobody, by_game) == (True, True, False, True)
    assert own.sessions(own.alice)[0].friends_only_dms is True


def test_privacy_reaches_sessions_through_the_outbox_after_a_crash(own: OwnAccounts) -> None:
    own.log_in(own.alice)
    own.run(own.profile.save_privacy(own.alice, Privacy.FRIENDS_ONLY, hide_country=False))
    session = own.sessions(own.alice)[0]
    own.run(own.presence.change(session, friends_only_dms=False))  # as if the process had died after the commit

    own.deliver()

    assert own.sessions(own.alice)[0].friends_only_dms is True


def test_userpage_is_stored_with_plain_line_ends_and_an_empty_one_is_removed(own: OwnAccounts) -> None:
    own.run(own.profile.save_userpage(own.alice, "[b]hi[/b]\r\nthere"))
    stored = own.user(own.alice).userpage_content
    own.run(own.profile.save_userpage(own.alice, " \r\n"))

    assert stored == "[b]hi[/b]\nthere"
    assert own.user(own.alice).userpage_content is None


def test_userpage_of_ten_thousand_characters_fits_although_browsers_send_two_for_a_line_end(own: OwnAccounts) -> None:
    own.run(own.profile.save_userpage(own.alice, "\r\n" * 10 + "x" * 9_990))
    with pytest.raises(Invalid, match="10000 characters"):
        own.run(own.profile.save_userpage(own.alice, "x" * 10_001))

    assert len(own.user(own.alice).userpage_content or "") == 10_000


def test_silenced_player_cannot_change_the_userpage(own: OwnAccounts) -> None:
    until = own.world.clock.now_ms() + 60_000
    own.world.change(users.update().where(users.c.id == own.alice).values(silenced_until_ms=until))

    with pytest.raises(Refused, match="silenced"):
        own.run(own.profile.save_userpage(own.alice, "hi"))
    own.advance_days(1)
    own.run(own.profile.save_userpage(own.alice, "hi"))

    assert own.user(own.alice).userpage_content == "hi"


def test_friends_and_blocks_change_in_the_sessions_of_the_game_too(own: OwnAccounts) -> None:
    own.log_in(own.alice)

    own.run(own.friendships.befriend(own.alice, own.bob))
    own.run(own.friendships.befriend(own.bob, own.alice))
    friends = own.run(own.friendships.friends(own.alice))
    befriended = own.sessions(own.alice)[0].friends
    own.run(own.friendships.block(own.alice, own.bob))
    blocked = own.sessions(own.alice)[0]

    assert [(friend.name, friend.mutual, friend.country) for friend in friends] == [("bob", True, "de")]
    assert befriended == {own.bob}
    assert blocked.friends == frozenset()
    assert blocked.blocked == {own.bob}
    assert [player.name for player in own.run(own.friendships.blocks(own.alice))] == ["bob"]
    own.run(own.friendships.forget(own.alice, own.bob))
    assert own.run(own.friendships.blocks(own.alice)) == []


def test_restricted_friend_vanishes_from_the_list(own: OwnAccounts) -> None:
    own.run(own.friendships.befriend(own.alice, own.bob))
    own.world.change(users.update().where(users.c.id == own.bob).values(priv=2))

    assert own.run(own.friendships.friends(own.alice)) == []


def test_friend_who_does_not_exist_is_refused(own: OwnAccounts) -> None:
    with pytest.raises(NotFound):
        own.run(own.friendships.befriend(own.alice, 999))
