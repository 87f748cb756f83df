"""The author of a command as the actor of an act of staff."""

from kiai.chat.bot import CommandContext
from kiai.staff import Actor


def actor_of(context: CommandContext) -> Actor:
    """Return the author of a command as the actor, for the audit log."""
    return Actor(context.session.user_id, context.source)
