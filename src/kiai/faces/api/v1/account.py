"""What the holder of a key may read and change about themselves."""

import json
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote_to_bytes

import falcon
import falcon.asgi
import msgspec
from msgspec import Meta

from kiai.accounts import Accounts, Relationships
from kiai.accounts.avatars import Avatars
from kiai.errors import Invalid
from kiai.faces.api.errors import BadRequest, NotSupported, TooLarge
from kiai.faces.api.operation import Caller, Limit, Method, Operation
from kiai.faces.api.replies import Reply
from kiai.faces.api.v1.players import Nothing, PlayerInfo, info_reply
from kiai.realtime.port import Realtime
from kiai.realtime.reading import shown_online

AVATAR_MAX: Final = 4 * 1024 * 1024
FORM_OVERHEAD: Final = 64 * 1024
CHANGES_MAX: Final = 256 * 1024
CHANGEABLE: Final = (
    "preferred_mode",
    "play_style",
    "userpage_content",
    "country",
    "custom_badge_name",
    "custom_badge_icon",
    "name",
)
_WRITING: Final[tuple[Method, ...]] = ("POST", "PUT")
_WHOLE: Final = ("preferred_mode", "play_style")


class FriendReply(msgspec.Struct, frozen=True):
    """A friend; `mutual` when the friendship is returned."""

    id: int
    name: str
    country: str
    online: bool
    mutual: bool


class FriendsReply(Reply, frozen=True):
    """get_friends: by name."""

    friends: list[FriendReply]


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What may be changed; fields that are left out stay."""

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
    custom_badge_name: Annotated[str, Meta(max_length=64, description="Supporters.")] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )
    custom_badge_icon: Annotated[str, Meta(max_length=64, description="Supporters.")] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )
    name: (
        Annotated[str, Meta(min_length=2, max_length=15, description="Supporters; once a week.")] | msgspec.UnsetType
    ) = msgspec.UNSET


# The picture alone as the body is taken, too. Generated clients want one type of body for each operation.
_PICTURE: Final = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {"avatar": {"type": "string", "format": "binary"}},
            "required": ["avatar"],
        }
    },
}


class ChangedPlayer(msgspec.Struct, frozen=True):
    """The account after the change."""

    info: PlayerInfo


class ChangedReply(Reply, frozen=True):
    """set_player_info."""

    player: ChangedPlayer


class Account:
    """The handlers of this page."""

    def __init__(
        self,
        accounts: Accounts,
        relationships: Relationships,
        avatars: Avatars,
        realtime: Realtime,
        upload_limit: Limit,
    ) -> None:
        self._accounts = accounts
        self._relationships = relationships
        self._avatars = avatars
        self._realtime = realtime
        self._upload_limit = upload_limit

    async def get_friends(self, caller: Caller, query: Nothing) -> FriendsReply:
        """The key holder's friends."""
        friends = await self._relationships.friends_of(caller.viewer.user_id)
        online = await shown_online(self._realtime, [one.id for one in friends])
        return FriendsReply(
            "success", [FriendReply(one.id, one.name, one.country, one.id in online, one.mutual) for one in friends]
        )

    async def set_player_info(self, caller: Caller, query: Nothing, body: dict[str, object]) -> ChangedReply:
        """Changes the key holder's profile: any of the fields, all or nothing."""
        for name, value in body.items():
            if name not in CHANGEABLE:
                raise Invalid(name, "left out; what may be changed is " + ", ".join(CHANGEABLE), value)
        if not body:
            raise BadRequest("Give at least one of " + ", ".join(CHANGEABLE) + ".")
        user = await self._accounts.set_profile(caller.viewer, body)
        return ChangedReply("success", ChangedPlayer(info_reply(user)))

    async def set_avatar(self, caller: Caller, query: Nothing, body: bytes) -> Reply:
        """Changes the key holder's picture."""
        await self._avatars.change(caller.viewer.user_id, body)
        return Reply("success")

    def operations(self) -> list[Operation]:
        """What this page serves."""
        changes = [
            Operation(
                path="/set_player_info",
                method=method,
                summary="Changes the key holder's profile: any of the fields, all or nothing.",
                query=Nothing,
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
                summary="Changes the key holder's picture: PNG, JPEG, GIF or WebP, as the field `avatar` or the body.",
                query=Nothing,
                reply=Reply,
                handler=self.set_avatar,
                tag="account",
                permission="",
                body=read_picture,
                body_content=_PICTURE,
                limit=self._upload_limit,
            )
            for method in _WRITING
        ]
        friends = Operation(
            path="/get_friends",
            method="GET",
            summary="The key holder's friends.",
            query=Nothing,
            reply=FriendsReply,
            handler=self.get_friends,
            tag="account",
            permission="",
        )
        return [friends, *changes, *pictures]


async def read_bounded(req: falcon.asgi.Request, most: int) -> bytes:
    """The body. Raises TooLarge past `most` bytes, before reading when the length is declared."""
    if req.content_length is not None and req.content_length > most:
        raise TooLarge(f"The body has {req.content_length} bytes; {most} are allowed.")
    data = await req.stream.read(most + 1)
    if len(data) > most:
        raise TooLarge(f"The body has more than {most} bytes.")
    if req.content_length is not None and len(data) != req.content_length:
        raise BadRequest("The body was cut short.")  # whoever sent it is gone; nothing may come of it
    return bytes(data)


async def read_changes(req: falcon.asgi.Request) -> dict[str, object]:
    """The fields of a JSON object or a form. Raises BadRequest, NotSupported, TooLarge."""
    data = await read_bounded(req, CHANGES_MAX)
    kind = (req.content_type or "application/json").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return _form(data)
    if kind != "application/json":
        raise NotSupported("The body must be a JSON object or a form (application/x-www-form-urlencoded)")
    try:
        found: Any = json.loads(data, object_pairs_hook=_once_each, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not valid JSON.") from error
    if not isinstance(found, dict):
        raise BadRequest("The body must be a JSON object.")
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadRequest("The body holds half a character (a lone surrogate).") from error
    return found


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        doubled = next(name for place, (name, _) in enumerate(pairs) if name in dict(pairs[:place]))
        raise Invalid(doubled[:64], "given once", "several values")
    return found


def _no_number(word: str) -> object:
    raise ValueError(word)  # NaN and the infinities are no JSON


def _form(data: bytes) -> dict[str, object]:
    try:
        unquote_to_bytes(data).decode()
        fields: dict[str, Any] = falcon.uri.parse_query_string(data.decode(), keep_blank=True, csv=False)
    except UnicodeDecodeError as error:
        raise BadRequest("The form is not UTF-8.") from error
    for name, value in fields.items():
        if isinstance(value, list):
            raise Invalid(name, "given once", f"{len(value)} values")
        if name in _WHOLE and value.isascii() and value.isdigit() and len(value) < 10:
            fields[name] = int(value)
    return fields


async def read_picture(req: falcon.asgi.Request) -> bytes:
    """The multipart field `avatar`, or the whole body. Raises BadRequest, NotSupported, TooLarge."""
    kind = (req.content_type or "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        return await read_bounded(req, AVATAR_MAX)
    if req.content_length is not None and req.content_length > AVATAR_MAX + FORM_OVERHEAD:
        raise TooLarge(f"The body has {req.content_length} bytes; a picture may have {AVATAR_MAX}.")
    found: bytes | None = None
    try:
        form = await req.get_media()
        async for part in form:
            if part.name != "avatar":
                continue
            if found is not None:
                raise BadRequest("The field avatar must be given once.")
            found = await part.stream.read(AVATAR_MAX + 1)
            if len(found) > AVATAR_MAX:
                raise TooLarge(f"The picture has more than {AVATAR_MAX} bytes.")
    except falcon.HTTPError as error:
        raise BadRequest("The multipart form is damaged.") from error
    if found is None:
        raise BadRequest("The field avatar is required: a PNG, JPEG, GIF or WebP picture.")
    return found
