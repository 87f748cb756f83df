"""Icons of clans: square pictures in PNG, at most 256 pixels a side. The owner sets them; staff can, too."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, select

from kiai.accounts.picture_files import PictureFiles
from kiai.clans.acts import ClanActs
from kiai.clans.model import CLANS_CHANGED, Role, notice_of, only_owner
from kiai.clans.recording import AsStaff
from kiai.clans.service import Clans
from kiai.clock import Clock
from kiai.decoding.decoder import Decoder
from kiai.errors import KiaiError, WrongState
from kiai.files.port import Files
from kiai.ids import Ids
from kiai.osu.numbers import whole_number
from kiai.storage.outbox import Outbox
from kiai.storage.port import Database, Query, scalar
from kiai.storage.tables import clans

FOLDER: Final = "clan-icons"
_ICON = Query(select(clans.c.icon).where(clans.c.id == bindparam("id")), scalar)


async def has_icon(database: Database, key: str) -> bool:
    """Return whether a clan has the icon with this key."""
    # The key contains the id of its clan, so this needs no index on the column.
    clan_id = whole_number(key.removeprefix(f"{FOLDER}/").partition("-")[0])
    return clan_id is not None and await database.one(_ICON, id=clan_id) == key


class ClanIcons:
    """Stores and finds icons. Every act raises NotFound("clan") for a clan that does not exist."""

    def __init__(
        self,
        database: Database,
        clan_reader: Clans,
        acts: ClanActs,
        files: Files,
        decoder: Decoder,
        outbox: Outbox,
        clock: Clock,
        ids: Ids,
    ) -> None:
        async def encode(picture: bytes, kind: str, caller: str) -> bytes:
            return await decoder.avatar(picture, kind, caller=caller)

        self._database = database
        self._clans = clan_reader
        self._acts = acts
        self._stored = PictureFiles(FOLDER, "png", encode, files, clock, ids)
        outbox.subscribe(CLANS_CHANGED, self._retire_of_disbanded)

    async def change(self, by: int, clan_id: int, picture: bytes, *, as_staff: AsStaff | None = None) -> None:
        """Set the icon. Raises as `PictureFiles.store` and `ClanActs.set_icon`. Nothing changes then."""
        clan = await self._clans.clan(clan_id)
        seat = await self._acts.seat(by)
        if as_staff is None and (seat is None or seat.clan_id != clan_id or seat.role < Role.OWNER):
            raise only_owner()  # before the picture is decoded; the act checks it again
        key = await self._stored.store(clan_id, picture, clan.icon, caller_id=by)
        if key == clan.icon:
            return
        try:
            await self._replace(by, clan_id, clan.icon, key, as_staff)
        except KiaiError:
            await self._stored.retire(key)
            raise

    async def remove(self, by: int, clan_id: int, *, as_staff: AsStaff | None = None) -> None:
        """Remove the icon. Raises WrongState without one, and as `ClanActs.set_icon`."""
        clan = await self._clans.clan(clan_id)
        if clan.icon is None:
            raise WrongState("the clan has no icon")
        await self._replace(by, clan_id, clan.icon, None, as_staff)

    async def _replace(
        self, by: int, clan_id: int, before: str | None, key: str | None, as_staff: AsStaff | None
    ) -> None:
        # The order of `accounts/profile_pictures.py`: a failure at any step leaves no row without a file.
        if before is not None:
            await self._stored.retire(before)
        replaced = (await self._acts.set_icon(by, clan_id, key, as_staff=as_staff)).icon
        if replaced is not None and replaced != before:  # by another change, at the same time
            await self._stored.retire(replaced)

    async def find(self, clan_id: int) -> bytes | None:
        """Return the icon of a clan, or None."""
        return await self._stored.read(await self._database.one(_ICON, id=clan_id))

    async def _retire_of_disbanded(self, payloads: Sequence[str]) -> None:
        """Retire the icons of clans that were disbanded. The outbox calls this."""
        for notice in map(notice_of, payloads):
            if notice.icon:
                await self._stored.retire(notice.icon)
