"""Avatars: square pictures in PNG, at most 256 pixels a side."""

from kiai.accounts.picture_files import NotAPicture, PictureFiles
from kiai.accounts.profile_pictures import ProfilePictures
from kiai.accounts.service import Accounts
from kiai.clock import Clock
from kiai.decoding.decoder import Decoder
from kiai.files.port import Files
from kiai.ids import Ids

__all__ = ["Avatars", "NotAPicture"]


class Avatars(ProfilePictures):
    """Stores and finds avatars."""

    def __init__(self, accounts: Accounts, files: Files, decoder: Decoder, clock: Clock, ids: Ids) -> None:
        async def encode(picture: bytes, kind: str, caller: str) -> bytes:
            return await decoder.avatar(picture, kind, caller=caller)

        super().__init__("avatar", PictureFiles("avatars", "png", encode, files, clock, ids), accounts)
