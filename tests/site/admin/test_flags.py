"""`/admin/flags`: the queue of flags, a flag with its evidence, and the verdict."""

import json

from sqlalchemy import delete, insert, select, update
from tests.site.admin.kit import ADMINISTRATOR, MODERATOR, OTHER, OWNER, PLAYER, World, confirmed
from tests.site.kit import PageReply

from kiai.storage.tables import integrity_flags, scores, users

HOSTILE = "<script>alert(1)</script>"
FIRST = 88_000


def fill(world: World, *flags: dict[str, object]) -> list[int]:
    """Replace all flags by some. Return their ids."""
    world.write(delete(integrity_flags))
    usual = {"user_id": PLAYER, "at_ms": 1_000, "kind": "timewarp", "details": HOSTILE, "score_id": None}
    more = {"other_score_id": 0, "figures": "", "state": 0, "verdict": ""}
    for number, flag in enumerate(flags):
        world.write(insert(integrity_flags).values({"id": FIRST + number, **usual, **more, **flag}))
    return [FIRST + number for number in range(len(flags))]


def listed(page: PageReply) -> list[int]:
    return [int(row.attributes["data-flag-id"] or 0) for row in page.css("[data-flag-id]")]


def two_scores(world: World) -> tuple[int, int]:
    """Return the ids of two scores of visible players."""
    known = select(scores.c.id).where(scores.c.hidden == 0)
    first = world.row(known.where(scores.c.user_id == PLAYER))[0]
    return first, world.row(known.where(scores.c.user_id == OTHER))[0]


def test_queue_is_filtered_by_state_kind_and_player(world: World) -> None:
    one, two, three = fill(
        world, {}, {"kind": "key_timing", "user_id": OTHER}, {"state": 1, "verdict": "clean", "closed_by": MODERATOR}
    )
    browser = world.browser(MODERATOR)

    page = browser.get("/admin/flags")
    assert listed(page) == [two, one]
    assert HOSTILE.encode() not in page.body
    assert listed(browser.get("/admin/flags?state=all")) == [three, two, one]
    assert listed(browser.get("/admin/flags?kind=key_timing")) == [two]
    form = page.form("Filter flags")
    assert listed(form.fill(Player=world.name(PLAYER), State="all").press()) == [three, one]
    assert "There is no account" in browser.get("/admin/flags?user=nobody+at+all").text
    assert browser.get("/admin/flags?kind=x").status == 400
    assert browser.get("/admin/flags/99999999").status == 404


def test_pages_of_the_queue_follow_each_other(world: World) -> None:
    ids = fill(world, *[{} for _ in range(53)])
    page = world.browser(MODERATOR).get("/admin/flags")

    assert listed(page) + listed(page.follow("Next")) == ids[::-1]


def test_copied_replay_shows_both_plays_side_by_side_with_figures_and_threshold(world: World) -> None:
    first, second = two_scores(world)
    figures = json.dumps({"threshold": 0.75, "similarity": 0.981, "distance": HOSTILE})
    flags = fill(world, {"kind": "replay_similarity", "score_id": first, "other_score_id": second, "figures": figures})

    page = world.browser(MODERATOR).get(f"/admin/flags/{flags[0]}")

    assert [one.attributes["data-score-id"] for one in page.css("[data-score-id]")] == [str(first), str(second)]
    assert page.link(f"Score {second}") == f"/scores/{second}"
    owners = [one.css("dd a")[0].attributes["href"] for one in page.css("[data-score-id]")]
    assert owners == [f"/admin/users/{PLAYER}", f"/admin/users/{OTHER}"]
    names = [name.text() for name in page.one("[data-figures]").css("dt")]
    assert names == ["similarity", "distance", "threshold"]
    assert HOSTILE.encode() not in page.body


def test_play_that_is_gone_is_told(world: World) -> None:
    [flag] = fill(world, {"score_id": 2**40})

    assert (
        "The score is hidden or does not exist any more." in world.browser(MODERATOR).get(f"/admin/flags/{flag}").text
    )


def test_verdict_closes_the_flag_and_restricts_nobody(world: World) -> None:
    [flag] = fill(world, {})
    browser = world.browser(ADMINISTRATOR)

    page = confirmed(browser.get(f"/admin/flags/{flag}").form("Verdict").fill(Verdict="cheating", Text=HOSTILE))

    assert "is closed" in (page.message or "")
    assert page.link(f"Restrict {world.name(PLAYER)}") == f"/admin/users/{PLAYER}#act-restrict"
    assert HOSTILE.encode() not in page.body
    row = world.audit()[-1]
    assert (row.action, row.actor_id, row.target_id, row.reason) == ("flag_close", ADMINISTRATOR, PLAYER, HOSTILE)
    assert listed(browser.get("/admin/flags")) == []
    assert browser.get(f"/admin/users/{PLAYER}").one("[data-state]").attributes["data-state"] == "normal"
    seen = world.browser(MODERATOR).get(f"/admin/flags/{flag}")
    assert seen.link(f"Restrict {world.name(PLAYER)}") is None, "moderators cannot restrict"


def test_second_of_two_at_once_is_told_who_closed_the_flag(world: World) -> None:
    flag, other = fill(world, {}, {})
    moderator, administrator = (
        world.browser(user_id).get(f"/admin/flags/{flag}").form("Verdict").fill(Verdict="clean")
        for user_id in (MODERATOR, ADMINISTRATOR)
    )
    stale = world.browser(MODERATOR).get(f"/admin/flags/{other}").form("Verdict").fill(Verdict="unclear")
    confirmed(moderator)
    before = len(world.audit())

    late = confirmed(administrator)

    assert late.status == 409
    assert world.name(MODERATOR) in (late.alert or "")
    assert len(world.audit()) == before
    assert confirmed(stale).status == 200, "another flag of the player does not hinder this one"


def test_page_of_the_account_has_its_open_flags(world: World) -> None:
    one, _ = fill(world, {}, {"state": 1, "verdict": "clean", "closed_by": MODERATOR})

    page = world.browser(MODERATOR).get(f"/admin/users/{PLAYER}")

    assert listed(page) == [one]
    assert len(listed(page.follow("All flags"))) == 2


def test_verdict_that_restricts_closes_the_flag_with_the_same_reason(world: World) -> None:
    world.write(update(users).where(users.c.id == PLAYER).values(priv=3, banned_at_ms=None))
    [flag] = fill(world, {})
    form = world.browser(ADMINISTRATOR).get(f"/admin/flags/{flag}").form("Restrict the player")
    reason = f"timewarp: {HOSTILE} (flag {flag})"
    assert form.values["reason"] == reason
    before = len(world.audit())

    page = confirmed(form.fill(Duration="7d"))

    assert "the player is restricted" in (page.message or "")
    assert HOSTILE.encode() not in page.body
    rows = world.audit()[before:]
    assert [(row.action, row.target_id, row.reason) for row in rows] == [
        ("flag_close", PLAYER, reason),
        ("restrict", PLAYER, reason),
    ]
    assert world.row(select(users.c.priv).where(users.c.id == PLAYER))[0] == 2
    assert world.row(select(integrity_flags.c.verdict).where(integrity_flags.c.id == flag))[0] == "cheating"
    world.write(update(users).where(users.c.id == PLAYER).values(priv=3, restricted_until_ms=0))


def test_refused_restriction_leaves_the_flag_open(world: World) -> None:
    [flag] = fill(world, {"user_id": OWNER})
    before = len(world.audit())

    page = confirmed(world.browser(ADMINISTRATOR).get(f"/admin/flags/{flag}").form("Restrict the player"))

    assert page.status == 403
    assert [row.action for row in world.audit()[before:]] == ["denied"]
    assert world.row(select(integrity_flags.c.state).where(integrity_flags.c.id == flag))[0] == 0


def test_moderator_has_no_form_that_restricts(world: World) -> None:
    [flag] = fill(world, {})

    page = world.browser(MODERATOR).get(f"/admin/flags/{flag}")

    assert [node.text(strip=True) for node in page.css("form h3")] == ["Verdict"]
