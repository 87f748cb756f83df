"""The pictures of profiles: avatars and covers."""

from kiai.accounts.changes import Record, no_record
from kiai.accounts.picture_files import PictureFiles
from kiai.accounts.service import Accounts
from kiai.accounts.visibility import EVERYBODY, Viewer


class ProfilePictures:
    """Stores and finds one picture of each player. `picture` is the column, `avatar` or `cover`."""

    def __init__(self, picture: str, stored: PictureFiles, accounts: Accounts) -> None:
        self._picture = picture
        self._stored = stored
        self._accounts = accounts

    async def change(self, user_id: int, picture: bytes, record: Record = no_record) -> None:
        """Set the picture of an account.

        Raises as `PictureFiles.store`, and Refused for a silenced player. Nothing changes then.
        """
        user = await self._accounts.user(Viewer(user_id=user_id), id=user_id)
        self._accounts.check_not_silenced(user, f"the {self._picture}")
        before: str | None = getattr(user, self._picture)
        key = await self._stored.store(user_id, picture, before, caller_id=user_id)
        if key != before:
            await self._replace(user_id, before, key, record)

    async def remove(self, user_id: int, record: Record = no_record) -> None:
        """Remove the picture of an account, if it has one. Everybody sees the default picture then."""
        user = await self._accounts.user(Viewer(user_id=user_id), id=user_id)
        before: str | None = getattr(user, self._picture)
        if before is not None:
            await self._replace(user_id, before, None, record)

    async def _replace(self, user_id: int, before: str | None, key: str | None, record: Record) -> None:
        # In this order, a failure at any step leaves no row without a file: first the new file, then the marker of the
        # old one, then the row. The sweep does not delete a retired file that the row still refers to.
        if before is not None:
            await self._stored.retire(before)
        replaced = await self._accounts.set_picture(user_id, self._picture, key, record)
        if replaced is not None and replaced != before:  # by another change, at the same time
            await self._stored.retire(replaced)

    async def find(self, user_id: int, viewer: Viewer = EVERYBODY) -> bytes | None:
        """Return the encoded picture of an account that `viewer` may see, or None."""
        return await self._stored.read(await self._accounts.picture_of(user_id, self._picture, viewer))
