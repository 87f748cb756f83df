"""Endpoints about the account of the key: friends, profile, avatar."""

from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote_to_bytes

import falcon
import falcon.asgi
import msgspec
from msgspec import Meta

from kiai.accounts import Accounts, Relationships
from kiai.accounts.avatars import Avatars
from kiai.errors import Invalid
from kiai.faces.api.errors import BadRequest, UnsupportedMediaType
from kiai.faces.api.json_body import json_object
from kiai.faces.api.operation import Caller, Method, Operation
from kiai.faces.api.params import NoParameters
from kiai.faces.api.picture_body import picture_body, picture_content
from kiai.faces.api.replies import Reply
from kiai.faces.api.v1.players import PlayerInfo, info_reply
from kiai.faces.rate_limit import RateLimit
from kiai.faces.request_body import read_body
from kiai.own_account.acts import own_change
from kiai.realtime.port import Realtime
from kiai.realtime.while_unavailable import online_or_nobody

SOURCE: Final = "api"
CHANGES_MAX: Final = 256 * 1024  # 10,000 characters of a profile page, each up to 12 bytes as a JSON escape
CHANGEABLE: Final = (
    "preferred_mode",
    "play_style",
    "userpage_content",
    "country",
    "custom_badge_name",
    "custom_badge_icon",
    "name",
)
# The documented API has both methods for each path.
_WRITING: Final[tuple[Method, ...]] = ("POST", "PUT")
_INTEGERS: Final = ("preferred_mode", "play_style")


class FriendReply(msgspec.Struct, frozen=True):
    """A friend. `mutual` is true if the friend has added the key's account, too."""

    id: int
    name: str
    country: str
    online: bool
    mutual: bool


class FriendsReply(Reply, frozen=True):
    """The response of get_friends, sorted by name."""

    friends: list[FriendReply]


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The fields of a profile that can be changed. Fields that are left out stay unchanged."""

    preferred_mode: (
        Annotated[Literal[0, 1, 2, 3, 4, 5, 6, 8], Meta(description="The mode that the profile shows first.")]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    play_style: (
        Annotated[int, Meta(ge=0, le=15, description="Bits: 1 mouse, 2 tablet, 4 keyboard, 8 touch.")]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    userpage_content: (
        Annotated[str, Meta(max_length=10_000, description="The text of the profile page.")] | msgspec.UnsetType | None
    ) = msgspec.UNSET
    custom_badge_name: (
        Annotated[str, Meta(max_length=64, description="For supporters only.")] | msgspec.UnsetType | None
    ) = msgspec.UNSET
    custom_badge_icon: (
        Annotated[str, Meta(max_length=64, description="For supporters only.")] | msgspec.UnsetType | None
    ) = msgspec.UNSET
    name: (
        Annotated[str, Meta(min_length=2, max_length=15, description="For supporters only; once a week.")]
        | msgspec.UnsetType
    ) = msgspec.UNSET


class ChangedPlayer(msgspec.Struct, frozen=True):
    """The account after the change."""

    info: PlayerInfo


class ChangedReply(Reply, frozen=True):
    """The response of set_player_info."""

    player: ChangedPlayer


class AccountV1:
    """The endpoints about the account of the key."""

    def __init__(
        self,
        accounts: Accounts,
        relationships: Relationships,
        avatars: Avatars,
        realtime: Realtime,
        upload_limit: RateLimit,
    ) -> None:
        self._accounts = accounts
        self._relationships = relationships
        self._avatars = avatars
        self._realtime = realtime
        self._upload_limit = upload_limit

    async def get_friends(self, caller: Caller, query: NoParameters) -> FriendsReply:
        """Return the friends of the key's account, with the ones who are online."""
        friends = await self._relationships.friends_of(caller.viewer.user_id)
        # The list comes from the database. While shared state is unavailable, all friends count as offline.
        online = await online_or_nobody(self._realtime, [friend.id for friend in friends])
        return FriendsReply(
            "success",
            [
                FriendReply(friend.id, friend.name, friend.country, friend.id in online, friend.mutual)
                for friend in friends
            ],
        )

    async def set_player_info(self, caller: Caller, query: NoParameters, body: dict[str, object]) -> ChangedReply:
        """Change the profile of the key's account.

        Either all given fields change or none. Raises Invalid for a value, Conflict for a name that is in use.
        """
        for name, value in body.items():
            if name not in CHANGEABLE:
                raise Invalid(name, f"left out (fields that can be changed: {', '.join(CHANGEABLE)})", value)
        if not body:  # most likely a client that sends its fields elsewhere
            raise BadRequest("Give at least one of " + ", ".join(CHANGEABLE) + ".")
        user = await self._accounts.set_profile(
            caller.viewer, body, own_change(caller.viewer.user_id, "profile", SOURCE)
        )
        return ChangedReply("success", ChangedPlayer(info_reply(user, caller.viewer)))

    async def set_avatar(self, caller: Caller, query: NoParameters, body: bytes) -> Reply:
        """Replace the avatar of the key's account."""
        user_id = caller.viewer.user_id
        await self._avatars.change(user_id, body, own_change(user_id, "avatar", SOURCE))
        return Reply("success")

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        changes = [
            Operation(
                path="/set_player_info",
                method=method,
                summary="Change the profile of the key's account. Either all given fields change or none.",
                query=NoParameters,
                reply=ChangedReply,
                handler=self.set_player_info,
                tag="account",
                permission="",
                body=read_changes,
                body_type=Changes,
            )
            for method in _WRITING
        ]
        pictures = [
            Operation(
                path="/set_avatar",
                method=method,
                summary="Set the avatar: PNG, JPEG, GIF or WebP, as the field `avatar` or as the body.",
                query=NoParameters,
                reply=Reply,
                handler=self.set_avatar,
                tag="account",
                permission="",
                body=picture_body("avatar"),
                body_content=picture_content("avatar"),
                limit=self._upload_limit,
            )
            for method in _WRITING
        ]
        friends = Operation(
            path="/get_friends",
            method="GET",
            summary="The friends of the key's account.",
            query=NoParameters,
            reply=FriendsReply,
            handler=self.get_friends,
            tag="account",
            permission="",
        )
        return [friends, *changes, *pictures]


async def read_changes(req: falcon.asgi.Request) -> dict[str, object]:
    """Read the fields of a JSON object or a form. Raises BadRequest, UnsupportedMediaType, BodyTooLarge."""
    data = await read_body(req, CHANGES_MAX)
    # Without a Content-Type the body is JSON, as many scripts send it.
    kind = (req.content_type or "application/json").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return _form(data)
    if kind != "application/json":
        raise UnsupportedMediaType("The body must be a JSON object or a form (application/x-www-form-urlencoded)")
    return json_object(data)


def _form(data: bytes) -> dict[str, object]:
    try:
        unquote_to_bytes(data).decode()  # Falcon would replace malformed UTF-8 without an error
        fields: dict[str, Any] = falcon.uri.parse_query_string(data.decode(), keep_blank=True, csv=False)
    except UnicodeDecodeError as error:
        raise BadRequest("The form is not UTF-8.") from error
    for name, value in fields.items():
        if isinstance(value, list):
            raise Invalid(name, "given once", f"{len(value)} values")
        # Everything else stays text, so that the validation of the field reports what was sent.
        if name in _INTEGERS and value.isascii() and value.isdigit() and len(value) < 10:
            fields[name] = int(value)
    return fields
