"""Covers: the wide pictures at the top of profiles, in WebP of 1920 x 640 pixels."""

from kiai.accounts.picture_files import PictureFiles
from kiai.accounts.profile_pictures import ProfilePictures
from kiai.accounts.service import Accounts
from kiai.clock import Clock
from kiai.decoding.decoder import Decoder
from kiai.files.port import Files
from kiai.ids import Ids


class ProfileCovers(ProfilePictures):
    """Stores and finds covers."""

    def __init__(self, accounts: Accounts, files: Files, decoder: Decoder, clock: Clock, ids: Ids) -> None:
        async def encode(picture: bytes, kind: str, caller: str) -> bytes:
            return await decoder.cover(picture, kind, caller=caller)

        super().__init__("cover", PictureFiles("covers", "webp", encode, files, clock, ids), accounts)
