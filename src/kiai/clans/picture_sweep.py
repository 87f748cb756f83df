"""Deletion of uploaded pictures that were replaced: avatars, covers and icons of clans."""

from kiai.accounts import Accounts
from kiai.clans.icons import FOLDER, has_icon
from kiai.clock import Clock
from kiai.files.port import Files
from kiai.files.retiring import RetiredFiles
from kiai.storage.port import Database


class PictureSweep:
    """Deletes retired pictures that no backup needs any longer."""

    def __init__(self, database: Database, accounts: Accounts, files: Files, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts
        self._retired = RetiredFiles(files, clock)

    async def run(self) -> int:
        """Delete them and return their number. A job calls this."""
        return await self._retired.sweep(self._is_referenced)

    async def _is_referenced(self, key: str) -> bool:
        if key.startswith(f"{FOLDER}/"):
            return await has_icon(self._database, key)
        return await self._accounts.has_picture(key)
