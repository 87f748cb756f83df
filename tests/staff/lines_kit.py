"""Delivers the lines of the bot to players who are offline."""

import pytest
from sqlalchemy import select
from tests.builders import World

from kiai.chat.mail import Mail
from kiai.staff.player_lines import KIND, PlayerLines
from kiai.storage.tables import mail, outbox


async def _nobody_is_online(user_id: int, name: str, text: str) -> None:
    pytest.fail(f"{name} is offline, so the line is lost: {text}")


def letters(world: World) -> list[tuple[int, str]]:
    """Deliver the waiting lines, and return the stored mail: recipient and text."""
    lines = PlayerLines(world.accounts, world.realtime, Mail(world.database, world.clock), _nobody_is_online)
    waiting = world.look(select(outbox.c.payload).where(outbox.c.kind == KIND).order_by(outbox.c.id))
    world.run(lines.deliver([payload for (payload,) in waiting]))
    return [(to, text) for to, text in world.look(select(mail.c.to_id, mail.c.text).order_by(mail.c.id))]
