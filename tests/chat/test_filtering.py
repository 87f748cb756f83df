"""The word filter: which lines its patterns match, and what becomes of these lines and their authors."""

import time
import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import NORMAL, World, a_player
from tests.chat.talking import Talk, line

from kiai.chat import BotReply, queries
from kiai.chat.filtering import PATTERN_MAX, Patterns, WordFilter, checked_pattern
from kiai.chat.model import FILTERED_NOTICE, LINE_MAX, FilterRule
from kiai.errors import Invalid, NotAllowed, NotFound, Refused
from kiai.osu.privileges import Privilege
from kiai.staff import OPERATOR, Actor
from kiai.staff.filter_desk import FilterDesk
from kiai.storage.tables import audit_log, users

NOTICE = (24, FILTERED_NOTICE)
MODERATOR = NORMAL | int(Privilege.MODERATOR)
DEVELOPER = NORMAL | int(Privilege.DEVELOPER)


def matches(pattern: str, text: str) -> bool:
    return Patterns([FilterRule(checked_pattern(pattern), None, 0)]).applied_to(text).blocked


# --- patterns


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("foo", ["foo", "a FOO!", "x,foo.y", "\x01ACTION foo\x01", "foo_bar"], ["foobar", "afoo", "fo o", ""]),
        ("foo*", ["foo", "foobar", "FOO1"], ["afoo", "fo"]),
        ("*foo*", ["foo", "afoob"], ["fo o", "f-oo"]),
        ("f*oo", ["foo", "fabcoo", "fooo"], ["fo", "foob", "f oo"]),
        ("ab*ba", ["abba", "abxba"], ["aba", "ab ba"]),
        ("buy gold", ["buy gold", "buy, GOLD!", "to buy   gold now"], ["buygold", "buy the gold", "gold buy"]),
        ("buy gold*", ["buy golden"], ["buys gold"]),
        ("*x* gold", ["six gold"], ["gold six", "gold"]),
        ("bäd", ["BÄD", "bäd"], ["bad"]),
        ("bad", ["b\u200bad", "ＢＡＤ", "b\u0301ad", "𝐛𝐚𝐝"], ["bäd", "b a d"]),
        ("*世界*", ["你好世界"], ["世"]),
        ("action", ["an action"], ["\x01ACTION waves\x01"]),
        ("don't", ["I don't", "don t"], ["dont"]),
    ],
)
def test_pattern_matches_whole_words_and_phrases(pattern: str, matching: list[str], others: list[str]) -> None:
    assert [text for text in matching if not matches(pattern, text)] == []
    assert [text for text in others if matches(pattern, text)] == []


@pytest.mark.parametrize("pattern", ["", "*", "a", "a*", "*a*b*", "!!", "foo *", "a b c d e f", "x" * 65, "ﷺ" * 20])
def test_unusable_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(Invalid, match="pattern"):
        checked_pattern(pattern)


@given(st.text(max_size=PATTERN_MAX))
def test_stored_form_of_a_pattern_is_stable(pattern: str) -> None:
    try:
        stored = checked_pattern(pattern)
    except Invalid:
        return
    assert checked_pattern(stored) == stored
    assert len(stored) <= PATTERN_MAX


@given(st.text(max_size=200))
def test_any_line_has_a_verdict(text: str) -> None:
    rules = [FilterRule(pattern, "*", 0) for pattern in ("aa", "*bb*", "c* d", "*é*f*")]

    verdict = Patterns(rules).applied_to(text)

    assert not verdict.blocked
    assert verdict.text == text or verdict.pattern


@given(st.text(alphabet="ab *", min_size=2, max_size=8), st.text(alphabet="ab ", max_size=12))
def test_wildcard_means_any_letters(pattern: str, text: str) -> None:
    try:
        words = checked_pattern(pattern).split()
    except Invalid:
        return
    given_words = text.split()

    def fits(word: str, glob: str) -> bool:
        if not glob:
            return not word
        if glob[0] == "*":
            return any(fits(word[at:], glob[1:]) for at in range(len(word) + 1))
        return bool(word) and word[0] == glob[0] and fits(word[1:], glob[1:])

    expected = any(
        all(map(fits, given_words[at : at + len(words)], words)) and at + len(words) <= len(given_words)
        for at in range(len(given_words))
    )

    assert matches(pattern, text) == expected


def test_replacements_keep_the_rest_of_the_line() -> None:
    patterns = Patterns([FilterRule("bad word", "[...]", 0), FilterRule("bad*", "***", 5), FilterRule("word", "w", 9)])

    assert patterns.applied_to("A bad  WORD, badly; b\u200bad!").text == "A [...], ***; ***!"
    assert patterns.applied_to("\x01ACTION says bad\x01").text == "\x01ACTION says ***\x01"
    verdict = patterns.applied_to("badly words word")
    assert (verdict.text, verdict.silence_s, verdict.pattern) == ("*** words w", 9, "word")


def test_blocking_pattern_wins() -> None:
    patterns = Patterns([FilterRule("bad", "***", 60), FilterRule("worse", None, 5)])

    verdict = patterns.applied_to("bad and worse")

    assert verdict == msgspec.structs.replace(verdict, text="bad and worse", blocked=True, pattern="worse")
    assert verdict.silence_s == 60


LINK = "https://osu.example.org/beatmapsets/1#/2"


@pytest.mark.parametrize(
    ("line_sent", "shown"),
    [
        ("is listening to [{} Artist - Damn Love]", "is listening to [{} Artist - *** Love]"),
        (
            "is playing [{} Damn [Damn]] <osu!mania> +Hidden ~Relax~ |4K|",
            "is playing [{} *** [***]] <osu!mania> +Hidden ~Relax~ |4K|",
        ),
        ("is watching [{} beatmapsets osu]", "is watching [{} sets game]"),
        ("is editing [{} Song]", "is editing [{} Song]"),
    ],
)
def test_now_playing_is_replaced_in_the_title_only(line_sent: str, shown: str) -> None:
    rules = [FilterRule("damn", None, 60), FilterRule("osu", "game", 60), FilterRule("beatmapsets", "sets", 0)]

    verdict = Patterns(rules).applied_to(f"\x01ACTION {line_sent.format(LINK)}\x01")

    assert (verdict.text, verdict.blocked, verdict.silence_s) == (f"\x01ACTION {shown.format(LINK)}\x01", False, 0)


@pytest.mark.parametrize(
    "text",
    [
        f"\x01ACTION is playing [{LINK} Song] damn\x01",
        f"\x01ACTION is playing [{LINK}/damn Song]\x01",
        "\x01ACTION is playing [https://damn.example.org/b/1 Song]\x01",
        f"is playing [{LINK} Damn]",
        f"\x01ACTION damn, is playing [{LINK} Song]\x01",
    ],
)
def test_other_words_are_not_hidden_in_a_now_playing_line(text: str) -> None:
    assert Patterns([FilterRule("damn", None, 60)]).applied_to(text).blocked


@pytest.mark.parametrize("kind", ["plain", "hostile", "hostile with accents"])
def test_price_of_a_line_is_bounded(kind: str) -> None:
    # Each pattern has the same piece, and each word of the hostile line contains it.
    patterns = Patterns(
        [FilterRule(f"*aa*{'a' * 20}*{number}*b", "x", 0) for number in range(queries.FILTER_RULES_MAX)]
    )
    text = "nothing of interest here " * 80 if kind == "plain" else f"{'a' * 40} " * 48
    if kind == "hostile with accents":
        text = text.replace(" ", " é")
    patterns.applied_to(text[:LINE_MAX])
    began = time.process_time()

    for _ in range(5):
        patterns.applied_to(text[:LINE_MAX])

    assert (time.process_time() - began) / 5 < 0.1
    assert unicodedata.is_normalized("NFC", text)


# --- lines in channels and private lines


def filtered(talk: Talk, *rules: FilterRule) -> Talk:
    desk = FilterDesk(talk.world.database, talk.world.authority, talk.clock, talk.word_filter)
    for rule in rules:
        talk.run(desk.set(OPERATOR, rule.pattern, replacement=rule.replacement, silence_s=rule.silence_s))
    return talk


def test_replaced_word_is_neither_sent_nor_stored(talk: Talk) -> None:
    filtered(talk, FilterRule("bad", "***", 0))
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")

    assert talk.says(alice, "#osu", "a Bad line") == []
    assert talk.whispers(alice, "bob", "bad too") == []

    assert talk.reads(bob) == [
        line("alice", "a *** line", "#osu", alice.user_id),
        line("alice", "*** too", "bob", alice.user_id),
    ]
    assert talk.lines() == [("#osu", alice.user_id, "a *** line")]
    assert [letter[2] for letter in talk.letters()] == ["*** too"]


@pytest.mark.parametrize("replacement", [None, "***"])
def test_now_playing_silences_nobody_and_the_bot_reads_it_unchanged(talk: Talk, replacement: str | None) -> None:
    filtered(talk, FilterRule("damn", replacement, 600))
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")
    sent = f"\x01ACTION is listening to [{LINK} Artist - Damn Love]\x01"
    shown = sent.replace("Damn", "***")

    assert talk.says(alice, "#osu", sent) == []
    assert talk.whispers(alice, "bob", sent) == []

    assert talk.reads(bob) == [line("alice", shown, to, alice.user_id) for to in ("#osu", "bob")]
    assert [text for _, _, text in talk.bot_input] == [sent]
    assert talk.now(alice).silenced_until_ms == 0


def test_blocked_line_reaches_nobody_and_its_author_knows(talk: Talk) -> None:
    filtered(talk, FilterRule("bad", None, 0))
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")
    offline = talk.account("offline")

    assert talk.says(alice, "#osu", "!roll bad") == [NOTICE]
    assert talk.whispers(alice, "bob", "bad") == [NOTICE]
    assert talk.whispers(alice, "offline", "bad") == [NOTICE]

    assert talk.reads(bob) == []
    assert (talk.lines(), talk.letters(), talk.bot_input) == ([], [], [])
    assert offline


@pytest.mark.parametrize("channel", ["#multi_1", "#clan_4", "#osu"])
def test_filter_applies_in_every_channel(talk: Talk, channel: str) -> None:
    filtered(talk, FilterRule("bad", None, 0))
    alice = talk.online("alice", channel, room_id=1, match_id=1)
    talk.world.change(users.update().values(clan_id=4))

    result = talk.run(talk.chat.say(talk.now(alice), "#multiplayer" if channel == "#multi_1" else channel, "bad"))

    assert result.status.name == "FILTERED"


@pytest.mark.parametrize("replacement", [None, "***"])
def test_author_is_silenced_by_the_server(talk: Talk, replacement: str | None) -> None:
    filtered(talk, FilterRule("bad*", replacement, 600))
    alice, bob = talk.online("alice", "#osu"), talk.online("bob")

    talk.says(alice, "#osu", "badly")

    assert talk.now(alice).silenced_until_ms == talk.clock.now_ms() + 600_000
    [row] = talk.world.audit(alice.user_id)
    assert (row.action, row.actor_id, row.reason) == ("silence", 0, "word filter: bad*")
    assert talk.says(alice, "#osu", "again badly")[0][0] == 92
    assert len(talk.world.audit(alice.user_id)) == 1
    talk.whispers(bob, "alice", "badly")
    assert talk.world.audit(bob.user_id) == [], "alice is silenced, so the line was not sent"


def test_private_line_silences_its_author(talk: Talk) -> None:
    filtered(talk, FilterRule("bad", "***", 60))
    alice, bob = talk.online("alice"), talk.online("bob")

    talk.whispers(alice, "bob", "bad")

    assert sorted(talk.reads(bob)) == [line("alice", "***", "bob", alice.user_id), (94, alice.user_id)]
    assert talk.now(alice).silenced_until_ms == talk.clock.now_ms() + 60_000


def test_staff_is_filtered_and_not_silenced(talk: Talk) -> None:
    filtered(talk, FilterRule("bad", "***", 600))
    mod, bob = talk.online("mod", "#osu", priv=MODERATOR), talk.online("bob", "#osu")

    talk.says(mod, "#osu", "bad")

    assert talk.reads(bob) == [line("mod", "***", "#osu", mod.user_id)]
    assert talk.now(mod).silenced_until_ms == 0


def test_lines_that_only_the_bot_reads_are_not_filtered(talk: Talk) -> None:
    filtered(talk, FilterRule("bad", None, 60))
    talk.answers["!silence bob 10m said bad"] = BotReply(("done",), hidden=True)
    mod = talk.online("mod", "#osu", priv=MODERATOR)

    talk.says(mod, "#osu", "!silence bob 10m said bad")
    talk.whispers(mod, "BanchoBot", "bad")
    talk.says(mod, "#osu", "!report bob said bad")

    assert [text for _, _, text in talk.bot_input] == ["!silence bob 10m said bad", "bad", "!report bob said bad"]


def test_away_message_is_filtered(talk: Talk) -> None:
    filtered(talk, FilterRule("bad", "***", 60), FilterRule("worse", None, 60))
    alice, bob, carla = (talk.online(name) for name in ("alice", "bob", "carla"))
    talk.goes_away(alice, "bad mood")
    talk.goes_away(carla, "worse")

    assert talk.whispers(bob, "alice", "hi") == [
        line("alice", "\x01ACTION is away: *** mood\x01", "bob", alice.user_id)
    ]
    assert talk.whispers(bob, "carla", "hi") == []
    assert talk.now(alice).silenced_until_ms == 0


def test_line_that_replacements_make_too_long_is_cut(talk: Talk) -> None:
    filtered(talk, FilterRule("bad", "x" * 64, 0))
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")

    talk.says(alice, "#osu", "bad " * 400)

    [(_, _, text, *_)] = talk.reads(bob)
    assert len(str(text)) == LINE_MAX + len("... (truncated)")


# --- the operator's acts


@pytest.fixture
def desk(world: World) -> FilterDesk:
    return FilterDesk(world.database, world.authority, world.clock, WordFilter(world.database))


def test_rules_are_set_listed_and_removed_with_audit_rows(world: World, desk: FilterDesk) -> None:
    world.run(desk.set(OPERATOR, "Bad  Word", replacement="***"))
    world.run(desk.set(OPERATOR, "bad word", silence_s=60))
    world.run(desk.set(OPERATOR, "worse", replacement="x", silence_s=5))
    assert [tuple(msgspec.structs.astuple(rule)) for rule in world.run(desk.all(OPERATOR))] == [
        ("bad word", None, 60),
        ("worse", "x", 5),
    ]

    world.run(desk.remove(OPERATOR, "BAD word"))
    with pytest.raises(NotFound):
        world.run(desk.remove(OPERATOR, "bad word"))

    rows = world.look(audit_log.select().with_only_columns(audit_log.c.action, audit_log.c.details))
    assert [action for action, _ in rows] == ["filter_edit"] * 4
    first = {"pattern": "bad word", "replacement": "***", "silence": 0}
    second = {"pattern": "bad word", "replacement": None, "silence": 60}
    changes = [msgspec.json.decode(details) for _, details in rows]
    assert [(change["before"], change["after"]) for change in changes[:2]] == [(None, first), (first, second)]
    assert (changes[3]["before"], changes[3]["after"]) == (second, None)


@pytest.mark.parametrize(
    ("pattern", "more", "what"),
    [
        ("*", {}, "pattern"),
        ("bad", {"replacement": ""}, "replacement"),
        ("bad", {"replacement": " "}, "replacement"),
        ("bad", {"replacement": "a\nb"}, "replacement"),
        ("bad", {"replacement": "x" * 65}, "replacement"),
        ("bad", {"silence_s": 365 * 86_400 + 1}, "silence"),
        ("bad", {"silence_s": -1}, "silence"),
    ],
)
def test_wrong_rule_is_refused(world: World, desk: FilterDesk, pattern: str, more: dict[str, Any], what: str) -> None:
    with pytest.raises(Invalid, match=what):
        world.run(desk.set(OPERATOR, pattern, **more))

    assert world.run(desk.all(OPERATOR)) == []


def test_number_of_rules_is_bounded(world: World, desk: FilterDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "FILTER_RULES_MAX", 1)
    world.run(desk.set(OPERATOR, "one"))

    with pytest.raises(Refused, match="remove one first"):
        world.run(desk.set(OPERATOR, "two"))
    world.run(desk.set(OPERATOR, "one", replacement="1"))


def test_only_developers_change_and_reload_the_filter(world: World, desk: FilterDesk) -> None:
    mod = Actor(world.add_player(a_player("mod", priv=MODERATOR)), "game")
    dev = Actor(world.add_player(a_player("dev", priv=DEVELOPER)), "game")

    for act in (desk.all(mod), desk.set(mod, "bad"), desk.remove(mod, "bad"), desk.reload(mod)):
        with pytest.raises(NotAllowed):
            world.run(act)
    world.run(desk.set(OPERATOR, "bad"))

    assert world.run(desk.reload(dev)) == 1
    [row] = world.audit(0, "setting")[:1]
    assert (row.action, row.actor_id) == ("reload", dev.user_id)


def test_rules_of_another_process_are_read_by_the_job(world: World, desk: FilterDesk) -> None:
    other = WordFilter(world.database)

    world.run(desk.set(OPERATOR, "bad"))

    assert not other.applied_to("bad").blocked
    assert world.run(other.reload()) == 1
    assert other.applied_to("bad").blocked
