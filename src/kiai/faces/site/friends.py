"""`/friends`: the player's friends with their statuses, and the blocked players."""

from typing import Final

import msgspec

from kiai.accounts.model import Privacy, Relation
from kiai.faces.site.page import Access, Head, Page, Redirect, Response, SiteRequest, View
from kiai.osu.numbers import whole_number
from kiai.own_account import Friendships
from kiai.realtime.port import Realtime
from kiai.realtime.while_unavailable import online_or_nobody

PATH: Final = "/friends"
BLOCKS: Final = "/settings/privacy"


class FriendRow(msgspec.Struct, frozen=True):
    """A friend, and whether the friend is online. `seen_at_ms` is None for one who hides it."""

    friend: Relation
    online: bool
    seen_at_ms: int | None


class FriendPages:
    """The page of friends and blocks, and the forms of both lists."""

    def __init__(self, friendships: Friendships, realtime: Realtime) -> None:
        self._friendships = friendships
        self._realtime = realtime

    def pages(self) -> list[Page]:
        """Return the page and its forms."""
        return [
            Page("GET", PATH, self._show, Access.PLAYER),
            Page("POST", f"{PATH}/remove", self._remove, Access.PLAYER, restricted=True),
            Page("POST", f"{PATH}/unblock", self._unblock, Access.PLAYER, restricted=True),
        ]

    async def _show(self, request: SiteRequest) -> Response:
        user, text = request.visitor.player, request.locale.text
        friends = await self._friendships.friends(user.id)
        blocks = await self._friendships.blocks(user.id)
        online = await online_or_nobody(self._realtime, [friend.id for friend in friends])
        rows = [
            FriendRow(
                friend,
                friend.id in online and not friend.privacy & Privacy.HIDE_ONLINE,
                None if friend.privacy & Privacy.HIDE_LAST_SEEN else friend.active_at_ms,
            )
            for friend in friends
        ]
        sentences = {"removed": text("The friend was removed."), "unblocked": text("The player was unblocked.")}
        values = {
            "friends": sorted(rows, key=lambda row: not row.online),
            "blocks": blocks,
            "saved": sentences.get(request.query.values.get("saved", ""), ""),
        }
        return View("friends.html", values, Head(title=text("Friends")))

    async def _remove(self, request: SiteRequest) -> Response:
        await self._forget(request)
        return Redirect(f"{PATH}?saved=removed")

    async def _unblock(self, request: SiteRequest) -> Response:
        await self._forget(request)
        back = BLOCKS if request.form.text("from") == "privacy" else PATH
        return Redirect(f"{back}?saved=unblocked")

    async def _forget(self, request: SiteRequest) -> None:
        target = whole_number(request.form.text("player") or "")
        if target is not None:
            await self._friendships.forget(request.visitor.player.id, target)
