"""Deliveries that have failed too often: staff counts them and lets them be tried again."""

import pytest
from sqlalchemy import func, insert, select
from tests.builders import DEVELOPER, NORMAL, World, a_player

from kiai.errors import NotAllowed, WrongState
from kiai.osu.privileges import Privilege
from kiai.staff import Actor
from kiai.staff.outbox_desk import OutboxDesk
from kiai.storage.outbox import TRIES_MAX, Outbox
from kiai.storage.tables import outbox


@pytest.fixture
def desk(world: World) -> OutboxDesk:
    """The desk over two parked deliveries and one that waits."""
    rows = [
        {"at_ms": 0, "kind": "mail", "payload": "1", "tries": tries} for tries in (TRIES_MAX, TRIES_MAX, TRIES_MAX - 1)
    ]
    world.change(insert(outbox).values(rows))
    return OutboxDesk(world.authority, Outbox(world.database, world.clock), world.clock)


def parked(world: World) -> int:
    """Return the number of parked rows."""
    [(count,)] = world.look(select(func.count()).select_from(outbox).where(outbox.c.tries >= TRIES_MAX))
    return int(count)


def test_parked_deliveries_are_tried_again_once(world: World, desk: OutboxDesk) -> None:
    root = Actor(world.add_player(a_player("root", priv=DEVELOPER)), "web")
    assert world.run(desk.parked(root)) == 2

    assert world.run(desk.retry(root, "the mail server is back")) == 2

    assert parked(world) == 0
    [row] = world.audit(0, "server")
    assert (row.action, row.reason, row.actor_id) == ("outbox_retry", "the mail server is back", root.user_id)
    with pytest.raises(WrongState):
        world.run(desk.retry(root))


@pytest.mark.parametrize("priv", [NORMAL, int(NORMAL | Privilege.ADMINISTRATOR)])
def test_retries_are_for_developers(world: World, desk: OutboxDesk, priv: int) -> None:
    actor = Actor(world.add_player(a_player(priv=priv)), "web")

    for act in (desk.parked(actor), desk.retry(actor)):
        with pytest.raises(NotAllowed):
            world.run(act)
    assert parked(world) == 2
