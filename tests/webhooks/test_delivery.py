"""Webhooks: what is sent, when it is sent again, and what is never sent."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.builders import DEVELOPER, NOW_MS, Run, World, a_map, a_play, a_player
from tests.certificates import CertificateAuthority
from tests.patience import patiently
from tests.webhooks import receiver as receivers
from tests.webhooks.receiver import HANG, Receiver

from kiai.beatmaps import MapStatus
from kiai.chat.journal import Journal
from kiai.errors import Invalid, KiaiError, NotAllowed, NotFound, Refused, Unavailable
from kiai.ids import SystemIds
from kiai.scores.flags import Flags
from kiai.scores.webhook_events import FirstPlaceEvents
from kiai.secret_box import SecretBox
from kiai.staff import OPERATOR, Actor
from kiai.staff.authority import Authority
from kiai.staff.reports import Reports
from kiai.staff.webhooks import WebhookEditor
from kiai.storage.port import Database, Transaction
from kiai.storage.tables import webhook_deliveries, webhooks
from kiai.webhooks import EVENTS, Webhooks, enqueue, model, service, statements
from kiai.webhooks.model import Webhook
from kiai.webhooks.sending import Sender

TOTAL_S = 1.0
SECRET = "a secret of the operator"


class Post:
    """Webhooks over the services of a world."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.run, self.folder = world, world.run, folder
        self.webhooks = self.another()
        self.editor = WebhookEditor(world.authority, self.webhooks, world.clock)
        self.first_places = FirstPlaceEvents(
            world.database, world.score_lookup, world.beatmaps, world.clock, world.outbox
        )

    def another(self, *, allow_private: bool = True, total_s: float | None = None, **more: Any) -> Webhooks:
        """The webhooks of another process on the same database."""
        sender = Sender(allow_private=allow_private, total_s=total_s or patiently(TOTAL_S), **more)
        box = SecretBox(self.folder, self.world.clock)
        return Webhooks(
            self.world.database,
            self.world.clock,
            SystemIds(),
            box,
            sender,
            server="Kiai Club",
            link=lambda path: f"https://osu.kiai.example/{path}",
        )

    def add(self, url: str, *events: str, format_: str = "json") -> int:
        """Add a webhook and return its id."""
        events = events or EVENTS
        return self.run(self.editor.add(OPERATOR, url, list(events), format_=format_, secret=SECRET))[0]

    def enqueue(self, *versions: str) -> None:
        """Enqueue a start of the server for each version."""
        for version in versions:
            self.run(self.webhooks.announce("server_start", {"version": version}))

    def deliver(self, by: Webhooks | None = None) -> None:
        """Run the job and wait for all that it has begun."""

        async def work() -> None:
            await (by or self.webhooks).deliver()
            await (by or self.webhooks).idle()

        self.run(work())

    def state(self, webhook_id: int) -> Webhook:
        """Return the row of a webhook."""
        return self.run(self.webhooks.find(webhook_id))

    def waiting(self) -> int:
        """The number of all waiting deliveries."""
        return int(self.world.look(select(func.count()).select_from(webhook_deliveries))[0][0])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receivers.running() as found:
        yield found


@pytest.fixture
def post(database: Database, run: Run, tmp_path: Path) -> Iterator[Post]:
    post = Post(World(database, run, tmp_path), tmp_path)
    yield post
    run(post.webhooks.close())


def test_message_is_signed_and_arrives_once(post: Post, receiver: Receiver) -> None:
    post.add(receiver.url, "server_start")
    post.enqueue("1.2")
    post.world.clock.advance(10)

    post.deliver()
    post.deliver()

    [got] = receiver.received
    timestamp = got.headers["x-kiai-timestamp"]
    expected = hmac.new(SECRET.encode(), timestamp.encode() + b"." + got.body, hashlib.sha256).hexdigest()
    assert got.headers["x-kiai-signature"] == f"sha256={expected}"
    assert timestamp == str(NOW_MS // 1000 + 10)
    assert got.headers["content-type"] == "application/json"
    assert got.headers["x-kiai-event"] == "server_start"
    assert got.headers["host"] == receiver.url.split("/")[2]
    assert got.json == {
        "id": got.headers["x-kiai-delivery"],
        "event": "server_start",
        "at": NOW_MS // 1000,
        "server": "Kiai Club",
        "data": {"version": "1.2"},
    }
    assert post.webhooks.outcomes == {"delivered": 1}


def test_only_wanted_events_are_stored(post: Post, receiver: Receiver) -> None:
    post.enqueue("before any webhook")
    post.add(receiver.url, "report", "flag")
    post.enqueue("for nobody")

    assert post.waiting() == 0


def test_failed_message_is_tried_again_with_the_same_id_and_then_parked(post: Post, receiver: Receiver) -> None:
    webhook_id = post.add(receiver.url)
    post.enqueue("1", "2")
    receiver.answers = [500, 404, 302, 204 + 99, 500, 500, 500]

    for failures, wait_s in enumerate((5, 30, 120, 600, 3_600, 21_600), 1):
        post.deliver()
        assert len(receiver.received) == failures
        assert post.state(webhook_id).failures == failures
        post.world.clock.advance(wait_s - 1)
        post.deliver()
        assert len(receiver.received) == failures
        post.world.clock.advance(1)
    post.deliver()

    parked = post.state(webhook_id)
    assert (parked.parked, parked.failures, parked.last_error) == (1, 7, "answered 500")
    post.world.clock.advance(86_400)
    post.deliver()
    assert len({got.headers["x-kiai-delivery"] for got in receiver.received}) == 1
    assert [got.data["version"] for got in receiver.received] == ["1"] * 7
    assert post.world.problems() == [f"I8: webhook {webhook_id} is parked after 7 failed tries: answered 500"]
    post.run(post.webhooks.count())
    assert (post.webhooks.parked, post.webhooks.waiting) == (1, 2)


def test_successful_test_unparks(post: Post, receiver: Receiver) -> None:
    webhook_id = post.add(receiver.url)
    post.enqueue("1", "2")
    receiver.answers = [500] * 8
    for wait_s in (*model.RETRY_AFTER_S, 0):
        post.deliver()
        post.world.clock.advance(wait_s)

    failed = post.run(post.editor.test(OPERATOR, webhook_id))
    assert (failed.delivered, failed.status, post.state(webhook_id).parked) == (False, 500, 1)
    worked = post.run(post.editor.test(OPERATOR, webhook_id))
    assert (worked.delivered, worked.status, post.state(webhook_id).parked) == (True, 204, 0)
    post.deliver()

    assert receiver.events()[-3:] == ["test", "server_start", "server_start"]
    assert [got.data["version"] for got in receiver.received[-2:]] == ["1", "2"]
    assert post.world.problems() == []


def test_order_stays_when_the_first_message_fails(post: Post, receiver: Receiver) -> None:
    post.add(receiver.url)
    post.enqueue("1", "2", "3")
    receiver.answers = [503]

    post.deliver()
    post.world.clock.advance(5)
    post.deliver()

    assert [got.data["version"] for got in receiver.received] == ["1", "1", "2", "3"]


def test_webhook_that_hangs_delays_no_other_and_is_tried_again(post: Post, receiver: Receiver) -> None:
    with receivers.running() as other:
        hanging = post.add(receiver.url)
        post.add(other.url)
        post.enqueue("1")
        receiver.answers = [HANG]

        async def work() -> None:
            await post.webhooks.deliver()
            await asyncio.to_thread(receiver.wait, 1, patiently(5))
            await asyncio.to_thread(other.wait, 1, patiently(5))
            assert (await post.webhooks.find(hanging)).failures == 0  # it still hangs
            await post.webhooks.deliver()  # the job runs on meanwhile, and begins nothing twice
            await post.webhooks.idle()

        post.run(work())

    assert post.state(hanging).failures == 1
    assert post.state(hanging).last_error.startswith("no answer within")
    post.world.clock.advance(5)
    post.deliver()
    assert len(receiver.received) == 2
    assert post.waiting() == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_to_a_private_address_is_not_followed(post: Post, receiver: Receiver, status: int) -> None:
    with receivers.running() as private:
        webhook_id = post.add(receiver.url)
        post.enqueue("1")
        receiver.answers, receiver.location = [status], private.url

        post.deliver()

        assert (len(receiver.received), private.received) == (1, [])
    assert post.state(webhook_id).last_error == f"answered {status}, a redirect"


@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [
        ("60", 60),
        ("61.5", 61.5),
        ("0.3", 5),  # never sooner than after any other failure
        ("-5", 5),
        ("999999", model.ASKED_WAIT_MAX_S),
        ("inf", model.ASKED_WAIT_MAX_S),
        ("nan", 5),
        ("soon", 5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 5),
        ("Wed, 21 Oct 2199 07:28:00 GMT", model.ASKED_WAIT_MAX_S),
    ],
)
def test_receiver_may_ask_for_a_longer_wait(post: Post, receiver: Receiver, retry_after: str, wait_s: float) -> None:
    webhook_id = post.add(receiver.url, format_="discord")
    post.enqueue("1", "2")
    receiver.answers, receiver.retry_after = [429], retry_after

    post.deliver()
    assert post.state(webhook_id).last_error == "answered 429"
    post.world.clock.advance(wait_s - 0.01)
    post.deliver()
    assert len(receiver.received) == 1
    post.world.clock.advance(0.01)
    post.deliver()

    assert len(receiver.received) == 3
    assert post.state(webhook_id).failures == 0


def test_wait_is_the_schedule_for_other_failures(post: Post, receiver: Receiver) -> None:
    post.add(receiver.url)
    post.enqueue("1")
    receiver.answers, receiver.retry_after = [500], "60"

    post.deliver()
    post.world.clock.advance(5)
    post.deliver()

    assert len(receiver.received) == 2


def test_two_workers_deliver_once(post: Post, receiver: Receiver) -> None:
    post.add(receiver.url)
    post.enqueue(*map(str, range(10)))
    others = [post.another() for _ in range(3)]

    async def work() -> None:
        await asyncio.gather(*(worker.deliver() for worker in (post.webhooks, *others)))
        await asyncio.gather(*(worker.idle() for worker in (post.webhooks, *others)))

    post.run(work())
    for other in others:
        post.run(other.close())

    assert [got.data["version"] for got in receiver.received] == list(map(str, range(10)))


def test_worker_that_dies_leaves_its_messages_to_the_next(post: Post, receiver: Receiver) -> None:
    webhook_id = post.add(receiver.url)
    post.enqueue("1", "2")
    # The claim of a worker that was killed.
    assert post.run(post.another()._claim(webhook_id, "dead")) is not None

    post.deliver()
    assert receiver.received == []
    post.world.clock.advance(service.CLAIM_MS / 1000)
    post.deliver()

    assert [got.data["version"] for got in receiver.received] == ["1", "2"]


def test_worker_that_stops_during_a_request_releases_its_claim(post: Post, receiver: Receiver) -> None:
    post.add(receiver.url)
    post.enqueue("1")
    receiver.answers = [HANG]
    stopping = post.another(total_s=60)

    async def work() -> None:
        await stopping.deliver()
        await asyncio.to_thread(receiver.wait, 1, patiently(5))
        await stopping.close()

    post.run(work())
    post.deliver()

    first, second = receiver.received
    assert first.headers["x-kiai-delivery"] == second.headers["x-kiai-delivery"]
    assert post.waiting() == 0


def test_removed_webhook_gets_nothing_more(post: Post, receiver: Receiver) -> None:
    webhook_id = post.add(receiver.url)
    post.enqueue("1")

    post.run(post.editor.remove(OPERATOR, webhook_id))
    post.deliver()
    post.run(post.webhooks.bound())

    assert (receiver.received, post.waiting()) == ([], 0)
    with pytest.raises(NotFound):
        post.run(post.editor.remove(OPERATOR, webhook_id))


def test_oldest_messages_are_dropped_and_counted(post: Post, receiver: Receiver) -> None:
    webhook_id = post.add(receiver.url)

    async def fill(tx: Transaction) -> None:
        for number in range(model.WAITING_MAX + 3):
            await enqueue(tx, "server_start", {"version": str(number)}, NOW_MS)

    post.run(post.world.database.transaction(fill))
    post.run(post.webhooks.bound())

    assert (post.waiting(), post.state(webhook_id).dropped) == (model.WAITING_MAX, 3)
    assert post.webhooks.outcomes == {"dropped": 3}
    [oldest] = post.run(post.world.database.all(statements.NEXT, webhook=webhook_id))
    assert json.loads(oldest.data) == {"version": "3"}


def test_server_that_stops_says_so(post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "STOP_S", patiently(service.STOP_S))
    post.add(receiver.url, "server_stop")

    post.run(post.webhooks.deliver_stop())

    assert receiver.events() == ["server_stop"]


def test_message_that_cannot_be_written_does_not_stop_the_others(post: Post, receiver: Receiver) -> None:
    post.add(receiver.url, format_="discord")
    post.run(post.webhooks.announce("server_start", {}))  # without the version
    post.enqueue("2")

    post.deliver()

    assert len(receiver.received) == 1
    assert post.webhooks.outcomes == {"dropped": 1, "delivered": 1}


# --- adding


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "https://",
        "https://user:pass@example.org/",
        "https://example.org/a b",
        "https://example.org:99999/",
        "https://example.org/\r\nX: y",
        "https://[::1/",
        "example.org",
        "https://example.org/" + "a" * 1_000,
    ],
)
def test_url_that_is_not_allowed_is_refused(post: Post, url: str) -> None:
    with pytest.raises(Invalid) as refused:
        post.add(url)
    assert refused.value.field == "url"


def test_wrong_events_format_and_secret_are_refused(post: Post) -> None:
    url = "http://127.0.0.1:9/"
    for events, format_, secret, field in (
        ([], "json", None, "events"),
        (["first_place", "nothing"], "json", None, "event"),
        (["report"], "xml", None, "format"),
        (["report"], "json", "", "secret"),
        (["report"], "json", "x" * 201, "secret"),
    ):
        with pytest.raises(Invalid) as refused:
            post.run(post.editor.add(OPERATOR, url, events, format_=format_, secret=secret))
        assert refused.value.field == field


def test_there_are_at_most_32_webhooks(post: Post) -> None:
    for _ in range(model.WEBHOOKS_MAX):
        post.add("http://127.0.0.1:9/")

    with pytest.raises(Refused):
        post.add("http://127.0.0.1:9/")


def test_secret_is_random_and_encrypted_in_the_database(post: Post) -> None:
    webhook_id, secret = post.run(post.editor.add(OPERATOR, "http://127.0.0.1:9/", ["report"]))

    assert len(bytes.fromhex(secret)) == 32
    assert secret.encode() not in post.state(webhook_id).secret


def test_each_edit_has_an_audit_row_without_secrets(post: Post, receiver: Receiver) -> None:
    webhook_id = post.add(receiver.url, "report")
    post.run(post.editor.test(OPERATOR, webhook_id))
    post.run(post.editor.remove(OPERATOR, webhook_id))

    rows = post.world.audit(webhook_id, "webhook")
    assert [(row.action, row.actor_id, row.source) for row in rows] == [("webhook_edit", 0, "cli")] * 3
    after = json.loads(rows[-1].details)["after"]
    assert after == {"to": receiver.url.removesuffix("/hook?a=1"), "format": "json", "events": ["report"]}
    assert not any("hook?" in row.details or SECRET in row.details for row in rows)


def test_only_developers_edit_webhooks(post: Post, receiver: Receiver) -> None:
    player = post.world.add_player(a_player("alice"))
    developer = post.world.add_player(a_player("dora", priv=DEVELOPER))

    with pytest.raises(NotAllowed):
        post.run(post.editor.add(Actor(player, "api"), receiver.url, ["report"]))
    post.run(post.editor.add(Actor(developer, "api"), receiver.url, ["report"]))


# --- private addresses


def resolving(**hosts: list[str]) -> Any:
    """A name server that knows these hosts under `.example`."""

    async def resolve(host: str, port: int) -> list[str]:
        return hosts[host.removesuffix(".example")]

    return resolve


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://localhost:9/", "http://[::1]:9/", "http://0x7f.1:9/"])
def test_private_address_is_refused_when_it_is_added(post: Post, url: str) -> None:
    strict = post.another(allow_private=False)

    with pytest.raises(Refused):
        post.run(strict.check_new(url, ["report"], SECRET))
    post.run(strict.close())


def test_private_address_is_refused_at_delivery(post: Post, receiver: Receiver) -> None:
    webhook_id = post.add(receiver.url)  # while the setting allowed it
    post.enqueue("1")
    strict = post.another(allow_private=False)

    post.deliver(strict)
    post.run(strict.close())

    assert receiver.received == []
    assert post.state(webhook_id).last_error == "127.0.0.1 has an address that is private, local or reserved"
    assert post.waiting() == 1


def test_host_with_one_private_address_is_refused(post: Post) -> None:
    strict = post.another(allow_private=False, resolve=resolving(mixed=["93.184.215.14", "10.0.0.7"]))

    with pytest.raises(Refused):
        post.run(strict.check_new("https://mixed.example/", ["report"], SECRET))


def test_host_that_cannot_be_resolved_is_refused(post: Post) -> None:
    async def fails(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    with pytest.raises(Unavailable):
        post.run(post.another(allow_private=False, resolve=fails).check_new("https://a.example/", ["report"], SECRET))


def test_host_is_resolved_once_for_each_try(post: Post, receiver: Receiver) -> None:
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    port = receiver.url.split(":")[2].split("/")[0]
    sending = post.another(resolve=resolve)
    post.add(f"http://hook.example:{port}/x")
    post.enqueue("1")

    post.deliver(sending)
    post.run(sending.close())

    assert asked == ["hook.example"]
    assert [got.headers["host"] for got in receiver.received] == [f"hook.example:{port}"]


def test_next_address_is_tried_when_one_does_not_answer(post: Post, receiver: Receiver) -> None:
    port = receiver.url.split(":")[2].split("/")[0]
    sending = post.another(resolve=resolving(hook=["127.0.0.2", "127.0.0.1"]))
    post.add(f"http://hook.example:{port}/x")
    post.enqueue("1")

    post.deliver(sending)
    post.run(sending.close())

    assert len(receiver.received) == 1


# --- TLS


class Tls:
    """A receiver by HTTPS whose certificate is for `hosts`, and webhooks that trust its authority."""

    def __init__(self, post: Post, *hosts: str, trusts: CertificateAuthority | None = None) -> None:
        self.post = post
        self.authority = CertificateAuthority()
        self.context = self.authority.server_context(*hosts)
        self.sending = post.another(
            resolve=resolving(hook=["127.0.0.1"], other=["127.0.0.1"]),
            trusted=(trusts or self.authority).client_context(),
        )

    def deliver_to(self, host: str) -> tuple[Receiver, str]:
        """Deliver a message to this host. Return the receiver and the last error."""
        with receivers.running(self.context) as receiver:
            webhook_id = self.post.add(receiver.url.replace("127.0.0.1", host))
            self.post.enqueue("1")
            self.post.deliver(self.sending)
            self.post.run(self.sending.close())
            return receiver, self.post.state(webhook_id).last_error


def test_certificate_is_that_of_the_host_although_the_address_is_pinned(post: Post) -> None:
    receiver, error = Tls(post, "hook.example").deliver_to("hook.example")

    assert error == ""
    assert receiver.named == ["hook.example"]
    [got] = receiver.received
    assert got.headers["host"].startswith("hook.example:")


@pytest.mark.parametrize("hosts", [("other.example",), ("127.0.0.1",), ("*.hook.example",)])
def test_certificate_of_another_host_or_of_the_address_is_refused(post: Post, hosts: tuple[str, ...]) -> None:
    receiver, error = Tls(post, *hosts).deliver_to("hook.example")

    assert receiver.received == []
    assert "certificate verify failed" in error
    assert "hook.example" in error


def test_certificate_of_an_unknown_authority_is_refused(post: Post) -> None:
    receiver, error = Tls(post, "hook.example", trusts=CertificateAuthority()).deliver_to("hook.example")

    assert receiver.received == []
    assert "certificate verify failed" in error


# --- events of the domain


def test_sanctions_have_names_reason_and_end(post: Post, receiver: Receiver) -> None:
    world = post.world
    alice = world.add_player(a_player("alice"))
    dora = world.add_player(a_player("dora", priv=DEVELOPER))
    post.add(receiver.url, "sanction")

    post.run(world.restrictions.restrict(Actor(dora, "game"), "alice", "multi-accounting", seconds=600))
    post.run(world.restrictions.unrestrict(OPERATOR, "alice"))
    post.deliver()

    assert [got.data for got in receiver.received] == [
        {
            "action": "restrict",
            "actor": {"id": dora, "name": "dora"},
            "target": {"id": alice, "name": "alice"},
            "reason": "multi-accounting",
            "until": NOW_MS // 1000 + 600,
        },
        {
            "action": "unrestrict",
            "actor": {"id": 0, "name": None},
            "target": {"id": alice, "name": "alice"},
            "reason": "",
            "until": None,
        },
    ]


def test_refused_act_sends_nothing(post: Post, receiver: Receiver) -> None:
    post.world.add_player(a_player("alice"))
    post.add(receiver.url)

    with pytest.raises(KiaiError):
        post.run(post.world.restrictions.unrestrict(OPERATOR, "alice"))

    assert post.waiting() == 0


def test_registration_and_map_status_are_events(post: Post, receiver: Receiver) -> None:
    post.add(receiver.url, "player_new", "map_status")

    alice = post.world.add_player(a_player("alice"))
    song = post.world.add_map(a_map(7, title="Song"), MapStatus.PENDING)
    post.run(post.world.staff.set_map_status(OPERATOR, [song], MapStatus.RANKED, reason="good"))
    post.deliver()

    assert [got.data for got in receiver.received] == [
        {"player": {"id": alice, "name": "alice"}},
        {
            "map_id": 7,
            "status": 2,
            "previous": 0,
            "actor": {"id": 0, "name": None},
            "reason": "good",
            "map_title": "Artist - Song [Normal]",
        },
    ]


def test_first_places_and_best_plays_are_events(post: Post, receiver: Receiver) -> None:
    world = post.world
    alice, bob = world.add_player(a_player("alice")), world.add_player(a_player("bob"))
    song = world.add_map(a_map(7))
    post.add(receiver.url, "first_place", "top_play")

    first = world.record(a_play(by=alice, on=song, score=1_000, pp=50))
    world.record(a_play(by=alice, on=song, score=1_500, pp=40))  # improves her own first place
    second = world.record(a_play(by=bob, on=song, score=2_000, pp=60))
    post.run(world.outbox.deliver())
    post.deliver()

    got = {(one.headers["x-kiai-event"], one.data["score_id"]): one.data for one in receiver.received}
    assert sorted(got) == [
        ("first_place", first.score_id),
        ("first_place", second.score_id),
        ("top_play", first.score_id),
        ("top_play", second.score_id),
    ]
    assert got["first_place", first.score_id]["previous"] is None
    taken = got["first_place", second.score_id]
    assert (taken["player"], taken["previous"]) == ({"id": bob, "name": "bob"}, {"id": alice, "name": "alice"})
    assert (taken["map_id"], taken["mode"]) == (7, 0)
    assert (got["top_play", second.score_id]["pp"], got["top_play", second.score_id]["player"]["id"]) == (60, bob)


def test_first_place_of_a_player_who_was_hidden_since_is_not_sent(post: Post, receiver: Receiver) -> None:
    world = post.world
    alice = world.add_player(a_player("alice"))
    song = world.add_map(a_map(7))
    post.add(receiver.url, "first_place", "top_play")
    world.record(a_play(by=alice, on=song))
    post.run(world.outbox.deliver())
    assert post.waiting() == 2

    post.run(world.restrictions.restrict(OPERATOR, "alice", "cheats"))
    post.deliver()

    assert (receiver.received, post.waiting()) == ([], 0)


def new_reports(world: World) -> Reports:
    authority = Authority(world.database, world.accounts, world.clock)
    journal = Journal(world.database, world.clock)
    return Reports(world.database, authority, journal, world.realtime, world.clock, limited=False)


def test_reports_and_flags_are_events(post: Post, receiver: Receiver) -> None:
    world = post.world
    alice, bob = world.add_player(a_player("alice")), world.add_player(a_player("bob"))
    reports = new_reports(world)
    post.add(receiver.url, "report", "flag")

    report_id = post.run(reports.send(alice, world.user(bob), "Cheating", "look at this"))
    post.run(Flags(world.database, world.clock).add(bob, "score_counts", details="too many"))
    post.deliver()

    report, flag = (got.data for got in receiver.received)
    assert report == {
        "id": report_id,
        "at": NOW_MS // 1000,
        "reporter": {"id": alice, "name": "alice"},
        "target": {"id": bob, "name": "bob"},
        "kind": "Cheating",
        "text": "look at this",
        "lines": [],
        "state": "open",
        "closed_by": None,
        "verdict": "",
    }
    assert (flag["player"], flag["kind"], flag["details"]) == ({"id": bob, "name": "bob"}, "score_counts", "too many")
    assert flag["id"] > 0


def test_discord_gets_an_embed_that_mentions_nobody(post: Post, receiver: Receiver) -> None:
    world = post.world
    world.add_player(a_player("x_[y]"))
    post.add(receiver.url, "sanction", format_="discord")

    post.run(
        world.restrictions.restrict(OPERATOR, "x_[y]", "@everyone **bold** <@1> [a](https://evil.example) ||b||\n# c")
    )
    post.deliver()

    [got] = receiver.received
    assert got.json["allowed_mentions"] == {"parse": []}
    [embed] = got.json["embeds"]
    text = embed["description"]
    assert r"[x\_\[y\]](https://osu.kiai.example/u/" in text
    reason = text.split("Reason: ")[1]
    for harmful in ("@everyone", "**", "<@", "](", "://", "||", "\n"):
        assert harmful not in reason
    assert "bold" in reason


def test_every_event_has_a_text_for_discord(post: Post, receiver: Receiver) -> None:
    world = post.world
    alice, bob = world.add_player(a_player("alice")), world.add_player(a_player("bob"))
    song = world.add_map(a_map(7), MapStatus.PENDING)
    reports = new_reports(world)
    webhook_id = post.add(receiver.url, format_="discord")

    post.run(world.staff.set_map_status(OPERATOR, [song], MapStatus.RANKED))
    world.record(a_play(by=alice, on=world.map(song.md5)))
    post.run(world.outbox.deliver())
    world.add_player(a_player("carol"))
    post.run(reports.send(alice, world.user(bob), "Other", "x"))
    post.run(Flags(world.database, world.clock).add(bob, "score_counts"))
    post.run(world.restrictions.restrict(OPERATOR, "bob", "x"))
    post.enqueue("1")
    post.run(post.webhooks.announce("server_stop", {}))
    post.run(post.webhooks.announce("backup", {"state": "failed", "reason": "the disk is full."}))
    post.deliver()
    post.run(post.editor.test(OPERATOR, webhook_id))

    assert set(receiver.events()) == {*EVENTS, "test"}
    assert "dropped" not in post.webhooks.outcomes
    assert all(got.json["embeds"][0]["description"] for got in receiver.received)
    assert post.world.look(select(webhooks.c.failures)) == [(0,)]
