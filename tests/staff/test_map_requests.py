"""Requests to rank sets: their bounds, who sees them, and every change that answers them, on both databases."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select
from tests.beatmaps import standin
from tests.beatmaps.standin import StandIn
from tests.builders import World, a_map, a_play, a_player
from tests.staff.ranking_kit import Ranking

from kiai.accounts import BOT_ID
from kiai.beatmaps import Beatmaps, MapStatus, ranking
from kiai.beatmaps.refreshing import BeatmapRefresher
from kiai.beatmaps.upstream import Upstream
from kiai.chat.service import Chat
from kiai.errors import Invalid, NotAllowed, NotFound, Refused, WrongState
from kiai.realtime.port import Session
from kiai.staff import OPERATOR
from kiai.staff.audit import Actor
from kiai.staff.map_news import MapNews
from kiai.staff.map_requests import OPEN_MAX, NominationRules
from kiai.storage.tables import audit_log, outbox


@pytest.fixture
def requests(world: World) -> Ranking:
    """Requests in the simple mode."""
    return Ranking(world, NominationRules(on=False))


class Posts:
    """In place of the chat: the lines that were posted to channels."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.missing = False

    async def post(self, channel: str, text: str) -> None:
        if self.missing:
            raise NotFound("channel")
        self.lines.append((channel, text))


def news_of(requests: Ranking, *, announces: bool = True) -> tuple[MapNews, Posts]:
    """Return the receiver of the outbox with what it posts."""
    posts = Posts()
    chat: Chat = posts  # type: ignore[assignment]
    world = requests.world
    news = MapNews(
        world.beatmaps,
        world.accounts,
        chat,
        requests.lines,
        lambda path: f"u/{path}",
        world.outbox,
        announces=announces,
    )
    return news, posts


def test_pending_sets_are_requested_once_and_up_to_the_bound(requests: Ranking) -> None:
    world, player = requests.world, requests.player("anna")
    songs = requests.pending(*(a_map(number) for number in range(1, OPEN_MAX + 2)))
    ranked = world.add_map(a_map(100))
    with pytest.raises(Refused, match="only pending"):
        world.run(requests.requests.request(player, ranked))
    world.run(requests.requests.request(player, songs[0]))
    with pytest.raises(WrongState, match="already"):
        world.run(requests.requests.request(player, songs[0]))

    for song in songs[1:OPEN_MAX]:
        world.run(requests.requests.request(player, song))
    with pytest.raises(Refused, match="10 open requests"):
        world.run(requests.requests.request(player, songs[OPEN_MAX]))

    assert len(requests.requested()) == OPEN_MAX


def test_requests_for_one_set_are_bounded(requests: Ranking, monkeypatch: pytest.MonkeyPatch) -> None:
    [song] = requests.pending(a_map(1))
    world = requests.world
    monkeypatch.setattr(ranking, "OF_SET_MAX", 2)
    for name in ("anna", "boris"):
        world.run(requests.requests.request(requests.player(name), song))

    with pytest.raises(Refused, match="enough"):
        world.run(requests.requests.request(requests.player("carla"), song))


def test_requests_of_hidden_players_are_not_shown(requests: Ranking) -> None:
    world = requests.world
    nora = requests.nominator("nora")
    song, other = requests.pending(a_map(1), a_map(2))
    anna, hidden = requests.player("anna"), requests.player("hidden")
    for player in (hidden, anna):
        world.run(requests.requests.request(player, song))
    world.run(requests.requests.request(hidden, other))
    assert world.run(requests.requests.queue(nora, 1))[1] == 2

    world.run(world.restrictions.restrict(OPERATOR, hidden, "x"))

    [row], total = world.run(requests.requests.queue(nora, 1))
    assert (total, row.set_id, row.count, row.changed) == (1, 1, 1, 0)
    assert [one.name for one in world.run(requests.requests.requesters(nora, 1))] == ["anna"]
    with pytest.raises(NotAllowed):
        world.run(requests.requests.requesters(Actor(anna, "game"), 1))


def test_closing_sends_the_reason_now_or_as_mail(requests: Ranking) -> None:
    world = requests.world
    nora = requests.nominator("nora")
    online, offline = requests.player("online"), requests.player("offline")
    [song] = requests.pending(a_map(1))
    for player in (online, offline):
        world.run(requests.requests.request(player, song))
    world.run(world.realtime.open_session(Session(token="t", user_id=online, login_time_ms=1)))
    news_of(requests)
    for reason in ("", "x" * 501):
        with pytest.raises(Invalid):
            world.run(requests.requests.close(nora, song, reason))

    assert world.run(requests.requests.close(nora, song, "not yet")) == 2
    world.run(world.outbox.deliver())

    text = "Your request for Artist - Song was closed: not yet"
    assert requests.notified == [("online", text)]
    assert requests.letters() == [(offline, text)]
    assert requests.acts() == [("request_close", nora.user_id, "game", "not yet")]
    with pytest.raises(NotFound):
        world.run(requests.requests.close(nora, song, "again"))


def test_closing_reveals_nothing_about_requests_of_hidden_players(requests: Ranking) -> None:
    world, nora = requests.world, requests.nominator("nora")
    song, other = requests.pending(a_map(1), a_map(2))
    anna, hidden = requests.player("anna"), requests.player("hidden")
    for player, requested in ((anna, song), (hidden, song), (hidden, other)):
        world.run(requests.requests.request(player, requested))
    world.run(world.restrictions.restrict(OPERATOR, hidden, "x"))

    assert world.run(requests.requests.close(nora, song, "not yet")) == 1
    with pytest.raises(NotFound):
        world.run(requests.requests.close(nora, other, "not yet"))

    assert requests.requested() == [(hidden, 2)]


def by_operator(requests: Ranking) -> None:
    beatmap = requests.world.run(requests.world.beatmaps.find(id=1))
    requests.world.run(requests.world.staff.set_map_status(OPERATOR, [beatmap], MapStatus.RANKED))


def by_nominator(requests: Ranking) -> None:
    beatmap = requests.world.run(requests.world.beatmaps.find(id=1))
    requests.world.run(requests.requests.set_status(requests.nominator("nora"), [beatmap], MapStatus.RANKED))


def by_import(requests: Ranking) -> None:
    requests.world.add_map(a_map(1), MapStatus.RANKED)


@pytest.mark.parametrize("change", [by_operator, by_nominator, by_import])
def test_every_change_to_a_board_answers_the_requests(requests: Ranking, change: Callable[[Ranking], None]) -> None:
    world, anna = requests.world, requests.player("anna")
    [song] = requests.pending(a_map(1))
    world.run(requests.requests.request(anna, song))
    news_of(requests)

    change(requests)

    assert (requests.statuses(), requests.requested()) == ({1: 2}, [])
    world.run(world.outbox.deliver())
    assert requests.letters() == [(anna, "Your request for Artist - Song was answered: it is ranked now.")]


def test_pending_again_leaves_requests_open(requests: Ranking) -> None:
    world, anna = requests.world, requests.player("anna")
    [song] = requests.pending(a_map(1))
    world.run(requests.requests.request(anna, song))

    world.run(world.staff.set_map_status(OPERATOR, [song], MapStatus.PENDING))

    assert requests.requested() == [(anna, 1)]


def test_request_and_status_at_once_leave_no_open_request(requests: Ranking) -> None:
    world = requests.world
    players = [requests.player(f"player {n}") for n in range(6)]
    nora = requests.nominator("nora")
    [song] = requests.pending(a_map(1))

    async def at_once() -> None:
        asks = [requests.requests.request(player, song) for player in players]
        status = requests.requests.set_status(nora, [song], MapStatus.RANKED)
        await asyncio.gather(*asks[:3], status, *asks[3:], return_exceptions=True)

    world.run(at_once())

    assert (requests.statuses(), requests.requested()) == ({1: 2}, [])


def test_of_equal_statuses_at_once_one_is_recorded(requests: Ranking) -> None:
    world = requests.world
    both = [requests.nominator("anna"), requests.nominator("boris")]
    [song] = requests.pending(a_map(1))

    async def at_once() -> list[object]:
        return await asyncio.gather(
            *(requests.requests.set_status(one, [song], MapStatus.RANKED) for one in both), return_exceptions=True
        )

    answers = world.run(at_once())

    assert [type(one) for one in answers if one is not None] == [WrongState]
    assert len(requests.acts()) == 1


# --- upstream


@pytest.fixture
def server() -> Iterator[StandIn]:
    with standin.running() as found:
        yield found


@pytest.fixture
def refreshing(requests: Ranking, server: StandIn) -> Iterator[BeatmapRefresher]:
    """Updates of stored sets from the fake server, with the importer that reports new files."""
    world = requests.world
    upstream = Upstream(server.url, "key", requests.importer, world.clock, world.database, allow_private=True)
    world.beatmaps = Beatmaps(world.database, world.files, upstream)
    yield BeatmapRefresher(world.database, upstream, world.clock)
    world.run(upstream.close())


def next_day(world: World, refreshing: BeatmapRefresher) -> None:
    world.run(refreshing.schedule())
    world.clock.advance(25 * 3_600)
    assert world.run(refreshing.refresh_due()) == 1


def test_status_of_upstream_answers_the_requests(
    requests: Ranking, server: StandIn, refreshing: BeatmapRefresher
) -> None:
    world, anna = requests.world, requests.player("anna")
    server.has(a_map(1), approved=0)
    song = world.run(world.beatmaps.find_or_ask(id=1))
    world.run(requests.requests.request(anna, song))
    news_of(requests)

    server.has(a_map(1), approved=4)
    next_day(world, refreshing)

    assert (requests.statuses(), requests.requested()) == ({1: 5}, [])
    world.run(world.outbox.deliver())
    assert requests.letters() == [(anna, "Your request for Artist - Song was answered: it is loved now.")]


def test_changed_file_of_a_frozen_map_asks_for_a_review(
    requests: Ranking, server: StandIn, refreshing: BeatmapRefresher
) -> None:
    world, nora = requests.world, requests.nominator("nora")
    alice = world.add_player(a_player())
    server.has(a_map(1), approved=0)
    song = world.run(world.beatmaps.find_or_ask(id=1))
    world.run(world.staff.set_map_status(OPERATOR, [song], MapStatus.RANKED))
    world.record(a_play(by=alice, on=world.map(song.md5), pp=100.0))
    news, posts = news_of(requests)
    world.run(world.outbox.deliver())
    requests.add_webhook()

    changed = a_map(1, objects=60)
    server.has(changed, approved=1)
    next_day(world, refreshing)
    world.reconcile()

    new = world.map(changed.md5)
    assert (new.status, new.frozen, new.current) == (MapStatus.PENDING, 1, 1)
    assert requests.requested() == [(BOT_ID, 1)]
    [row], total = world.run(requests.requests.queue(nora, 1))
    assert (total, row.map_id, row.count, row.changed) == (1, 1, 0, 1)
    assert world.run(requests.requests.requesters(nora, 1)) == []
    assert requests.acts()[-1] == ("beatmap_status", 0, "job", "map changed")
    event = {"map_id": 1, "status": 0, "previous": 2, "actor": 0, "reason": "map changed"}
    assert requests.deliveries() == [event]
    world.run(world.outbox.deliver())
    [(channel, text)] = posts.lines
    assert (channel, "has changed upstream" in text) == ("#staff", True)
    assert [row[0] for row in world.look(select(outbox.c.kind))] == []
    # The scores stay with the old file.
    assert world.board(new) == []
    assert (len(world.score_rows()), world.stats(alice).pp) == (1, 0)
    assert world.map(song.md5).status == MapStatus.UPDATE_AVAILABLE

    next_day(world, refreshing)
    server.has(a_map(1, objects=61), approved=1)
    next_day(world, refreshing)
    assert requests.requested() == [(BOT_ID, 1)], "one request, also after a second file"
    found = world.run(world.beatmaps.find(id=1))
    world.run(requests.requests.set_status(nora, [found], MapStatus.RANKED))
    assert requests.requested() == []
    world.run(world.outbox.deliver())
    assert requests.letters() == []
    assert world.problems() == []
    world.run(news.say())


def test_changed_file_of_another_map_asks_for_no_review(
    requests: Ranking, server: StandIn, refreshing: BeatmapRefresher
) -> None:
    world = requests.world
    server.has(a_map(1), approved=1)
    world.run(world.beatmaps.find_or_ask(id=1))
    _, posts = news_of(requests)

    server.has(a_map(1, objects=60), approved=1)
    next_day(world, refreshing)

    world.run(world.outbox.deliver())
    assert (requests.requested(), posts.lines, requests.acts()) == ([], [], [])


def test_review_stays_open_while_only_other_maps_of_the_set_change(requests: Ranking) -> None:
    world = requests.world
    song, hard = requests.pending(a_map(1, set_id=1), a_map(2, set_id=1, version="Hard", objects=60))
    changed = a_map(1, set_id=1, objects=70)
    world.run(requests.importer.import_file(changed.data, name="x", status=None, upstream=MapStatus.RANKED, ids=(1, 1)))
    assert requests.requested() == [(BOT_ID, 1)]

    world.run(world.staff.set_map_status(OPERATOR, [hard], MapStatus.LOVED))
    assert requests.requested() == [(BOT_ID, 1)]

    world.run(world.staff.set_map_status(OPERATOR, [world.map(changed.md5)], MapStatus.LOVED))
    assert requests.requested() == []
    assert song.id == 1


# --- lines in channels


def test_statuses_are_announced_in_one_line_with_the_name_of_the_nominator(requests: Ranking) -> None:
    world, nora = requests.world, requests.nominator("nora")
    first, hard, other = requests.pending(
        a_map(1, set_id=1), a_map(2, set_id=1, version="Hard", objects=60), a_map(3, title="[Other]")
    )
    news, posts = news_of(requests)
    world.run(requests.requests.set_status(nora, [first, hard], MapStatus.RANKED))
    world.run(world.outbox.deliver())
    world.run(news.say())
    world.run(news.say())
    assert posts.lines == [("#announce", "[u/b/1 Artist - Song] (2 maps) is now ranked, by nora")]

    posts.lines.clear()
    world.run(requests.requests.set_status(nora, [first], MapStatus.LOVED))
    world.run(requests.requests.set_status(nora, [other], MapStatus.LOVED))
    world.run(world.restrictions.restrict(OPERATOR, nora.user_id, "x"))
    world.run(world.outbox.deliver())
    world.run(news.say())
    [(_, text)] = posts.lines
    assert text.startswith("[u/b/3 ")
    assert text.endswith("is now loved (and 1 more)")


def test_status_that_has_changed_again_and_pending_are_not_announced(requests: Ranking) -> None:
    world = requests.world
    [song] = requests.pending(a_map(1))
    news, posts = news_of(requests)
    for status in (MapStatus.RANKED, MapStatus.PENDING):
        world.run(world.staff.set_map_status(OPERATOR, [song], status))

    world.run(world.outbox.deliver())
    world.run(news.say())

    assert posts.lines == []


def test_announcements_can_be_off_and_a_removed_channel_does_no_harm(requests: Ranking) -> None:
    world = requests.world
    [song] = requests.pending(a_map(1))
    news, posts = news_of(requests)
    posts.missing = True
    world.run(world.staff.set_map_status(OPERATOR, [song], MapStatus.RANKED))
    world.run(world.outbox.deliver())
    world.run(news.say())

    quiet, said = news_of(requests, announces=False)
    world.run(world.staff.set_map_status(OPERATOR, [song], MapStatus.LOVED))
    world.run(world.outbox.deliver())
    world.run(quiet.say())

    assert (posts.lines, said.lines) == ([], [])


def test_reason_of_a_status_and_of_freezing_is_in_the_audit_log(requests: Ranking) -> None:
    songs = requests.pending(a_map(1))
    nominator = requests.nominator("nominator")

    requests.world.run(requests.requests.set_status(nominator, songs, MapStatus.LOVED, reason="  fun  "))
    requests.world.run(requests.requests.set_frozen(nominator, songs, False, reason="upstream knows"))

    rows = requests.world.look(select(audit_log.c.action, audit_log.c.reason).order_by(audit_log.c.id))
    assert list(rows)[-2:] == [("beatmap_status", "fun"), ("beatmap_status", "upstream knows")]
    with pytest.raises(Invalid):
        requests.world.run(requests.requests.set_status(nominator, songs, MapStatus.PENDING, reason="x" * 501))
