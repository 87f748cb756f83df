"""Hardware of restricted accounts that is seen in a submission, not only in a login."""

import hashlib
from collections.abc import Callable

import pytest
from sqlalchemy import insert, select
from tests.builders import NOW_MS, World, a_player

from kiai.accounts import Logins
from kiai.errors import Unavailable
from kiai.scores.flags import Flags
from kiai.staff import OPERATOR
from kiai.staff.hardware import RETRY_S, ClientDevice, HardwareWatch, device_of
from kiai.staff.onboarding import Onboarding
from kiai.storage.tables import audit_log, client_hashes, integrity_flags

ADAPTERS, UNINSTALL, DISK = (hashlib.md5(name.encode(), usedforsecurity=False).hexdigest() for name in "abc")
HASHES = f"{'e' * 32}:MAC.:{ADAPTERS}:{UNINSTALL}:{DISK}:"


@pytest.fixture
def submit(world: World) -> Callable[[str], None]:
    """Two accounts; cheater is restricted and was used on the device of `HASHES`. alice submits."""
    cheater, alice = world.add_player(a_player("cheater")), world.add_player(a_player())
    world.run(world.restrictions.restrict(OPERATOR, cheater, "rx"))
    world.change(
        insert(client_hashes).values(
            user_id=cheater,
            adapters=ADAPTERS,
            uninstall=UNINSTALL,
            disk=DISK,
            wine=0,
            exe="",
            first_at_ms=NOW_MS,
            last_at_ms=NOW_MS,
            uses=1,
        )
    )
    onboarding = Onboarding(
        world.database, world.accounts, world.standing, Flags(world.database, world.clock), world.clock
    )
    watch = HardwareWatch(Logins(world.database), onboarding, world.realtime, world.clock)
    return lambda hashes: world.run(watch.check_submission(alice, hashes))


def unavailable(*_: object, **__: object) -> object:
    raise Unavailable("database", "gone")


def matches(world: World) -> int:
    return len(world.look(select(audit_log.c.id).where(audit_log.c.action == "hardware_match")))


def test_a_submission_from_the_device_of_a_restricted_player_is_recorded(
    world: World, submit: Callable[[str], None]
) -> None:
    submit(HASHES)
    submit(HASHES)

    assert matches(world) == 1
    assert len(world.look(select(integrity_flags.c.id).where(integrity_flags.c.kind == "restricted_hardware"))) == 1
    [(details,)] = world.look(select(audit_log.c.details).where(audit_log.c.action == "hardware_match"))
    assert ADAPTERS not in details

    world.clock.advance(6 * 3_600 + 1)
    submit(HASHES)
    assert matches(world) == 2


@pytest.mark.parametrize(("kind", "method"), [(Logins, "shared_with"), (Onboarding, "record_hardware_match")])
def test_a_device_that_could_not_be_compared_is_compared_at_a_later_play(
    world: World, submit: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, kind: type, method: str
) -> None:
    with monkeypatch.context() as outage:
        outage.setattr(kind, method, unavailable)
        submit(HASHES)
    assert matches(world) == 0

    world.clock.advance(RETRY_S + 1)
    submit(HASHES)
    submit(HASHES)

    assert matches(world) == 1


@pytest.mark.parametrize(
    "hashes",
    [
        "",
        ":::::",
        "x" * 5_000,
        f"{HASHES}more:parts:",
        f"{'e' * 32}:MAC.:{'0' * 32}:{'1' * 32}:{'2' * 32}:",
        f"{'e' * 32}:runningunderwine:{ADAPTERS}:{'1' * 32}:{DISK}:",
        f"{'e' * 32}:MAC.:\x00:\ud83d:{'z' * 32}:",
    ],
)
def test_another_device_or_an_odd_text_is_not(world: World, submit: Callable[[str], None], hashes: str) -> None:
    submit(hashes)

    assert matches(world) == 0


def test_the_device_is_read_with_and_without_the_last_colon() -> None:
    device = ClientDevice(ADAPTERS, UNINSTALL, DISK, wine=False)

    assert (device_of(HASHES), device_of(HASHES.removesuffix(":"))) == (device, device)
