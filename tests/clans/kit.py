"""Icons of clans over a world, for tests."""

from tests.builders import World
from tests.decoders import DECODER

from kiai.clans import ClanActs, Clans
from kiai.clans.icons import ClanIcons
from kiai.ids import SequenceIds
from kiai.storage.outbox import Outbox


def icons_of(world: World, acts: ClanActs, outbox: Outbox | None = None) -> ClanIcons:
    """Return the icons of the clans of a world."""
    outbox = outbox or Outbox(world.database, world.clock)
    clans = Clans(world.database)
    return ClanIcons(world.database, clans, acts, world.files, DECODER, outbox, world.clock, SequenceIds())
