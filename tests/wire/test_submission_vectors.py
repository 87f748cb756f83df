"""Submits plays that two independent encoders have written with equal bytes."""

from collections.abc import Iterator

import pytest
from tests.wire.kit import Server
from tests.wire.submitting import SUBMISSIONS, log_in, of_vector, prepare, read_rows, submit, web

NAMES = sorted({one["username"] for one in SUBMISSIONS.values()})


def md5_of(name: str) -> str:
    """Return the md5 of this player's password in the vectors."""
    return next(
        str(dict(one["form_text_parts_in_order"])["pass"]) for one in SUBMISSIONS.values() if one["username"] == name
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("vectors") / "data"
    prepare(data, NAMES)
    server = Server(data).start()
    try:
        for name in NAMES:
            log_in(server, name)
        yield server
        server.stop()
        assert '"unhandled"' not in server.stderr
        assert server.cli("doctor")["problems"] == []
    finally:
        server.kill()


PASSES = [name for name, one in SUBMISSIONS.items() if one["expect"]["stored"] and "response" not in one["expect"]]
FAILS = [name for name, one in SUBMISSIONS.items() if one["expect"].get("status") == "failed"]
REFUSED = [name for name, one in SUBMISSIONS.items() if not one["expect"]["stored"]]


def test_every_vector_is_tested() -> None:
    assert len(PASSES) == 6
    assert len(FAILS) == 2
    assert sorted(REFUSED) == ["notepad_hack", "unicode_name_bad_checksum"]


@pytest.mark.parametrize("name", PASSES)
def test_pass_is_stored_and_answered_with_its_panel(server: Server, name: str) -> None:
    vector = SUBMISSIONS[name]

    reply = submit(server, of_vector(vector))

    assert reply.status == 200
    assert reply.body.startswith(b"beatmapId:"), reply.body
    score_id = int(reply.body.split(b"onlineScoreId:")[1].split(b"|")[0])
    stored = server.get(f"/get_score_info?id={score_id}").json["score"]
    parsed, expected = vector["parsed"], vector["expect"]
    assert stored["mode"] == expected["server_mode"]
    assert stored["acc"] == pytest.approx(expected["accuracy_percent"], abs=5e-4)
    assert {field: stored[field] for field in FIELDS} == {field: parsed[key] for field, key in FIELDS.items()}
    assert stored["status"] == 2
    flags = read_rows(server, "SELECT client_flags FROM scores WHERE id = ?", score_id)
    assert flags == [(parsed["client_flags_masked"],)]
    again = submit(server, of_vector(vector))
    assert again.body == reply.body, "a repeated submission has the same answer"


FIELDS = {  # field of the API -> key in the vectors
    "score": "total_score",
    "max_combo": "max_combo",
    "mods": "mods",
    "n300": "n300",
    "n100": "n100",
    "n50": "n50",
    "ngeki": "ngeki",
    "nkatu": "nkatu",
    "nmiss": "nmiss",
    "perfect": "perfect",
}


@pytest.mark.parametrize("name", PASSES)
def test_stored_replay_equals_the_submitted_one(server: Server, name: str) -> None:
    vector = SUBMISSIONS[name]
    sent = of_vector(vector)[-1][2]
    body = submit(server, of_vector(vector)).body
    score_id = int(body.split(b"onlineScoreId:")[1].split(b"|")[0])
    watcher = next(one for one in NAMES if one != vector["username"])

    reply = web(server, "/web/osu-getreplay.php", u=watcher, h=md5_of(watcher), c=score_id, m=0)

    assert reply.status == 200
    assert reply.body == sent


@pytest.mark.parametrize("name", FAILS)
def test_fail_is_stored_and_ends_the_retries(server: Server, name: str) -> None:
    vector = SUBMISSIONS[name]

    reply = submit(server, of_vector(vector))

    assert (reply.status, reply.body) == (200, b"error: no")
    counted = read_rows(
        server, "SELECT passed, grade, pp FROM scores WHERE checksum = ?", bytes.fromhex(vector["score_checksum"])
    )
    assert counted == [(0, "F", 0.0)]


@pytest.mark.parametrize("name", REFUSED)
def test_impossible_play_is_refused_and_flagged(server: Server, name: str) -> None:
    vector = SUBMISSIONS[name]

    reply = submit(server, of_vector(vector))

    assert (reply.status, reply.body) == (200, b"error: no")
    sent = bytes.fromhex(vector["score_checksum_sent"])
    assert read_rows(server, "SELECT count(*) FROM scores WHERE checksum = ?", sent) == [(0,)]
    kind = {"notepad_hack": "beatmap hash", "unicode_name_bad_checksum": "checksum"}[name]
    assert read_rows(server, "SELECT kind FROM integrity_flags WHERE checksum = ?", sent) == [(kind,)]
