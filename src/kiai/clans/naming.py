"""Names, tags and descriptions of clans: their rules, their changes, and the reservations of former ones.

A clan that gives a name or a tag up reserves it, so that no other clan can take it soon and be mistaken for it.
"""

from typing import Final

from kiai.clans import statements as sql
from kiai.clans.model import (
    DAY_MS,
    DESCRIPTION_MAX,
    RESERVED_DAYS,
    RESERVED_OF_ONE_MAX,
    ChangingClan,
    JoinForm,
    MustWait,
)
from kiai.clans.recording import record
from kiai.errors import Conflict, Invalid
from kiai.osu.durations import duration_text
from kiai.osu.names import clan_name_fault, clan_tag_fault, safe_name
from kiai.storage.port import Transaction

NAME: Final = 0
TAG: Final = 1


async def set_name(
    tx: Transaction, clan: ChangingClan, name: str, now: int, by: int, *, by_staff: bool, rename_days: int
) -> None:
    """Change the name of a locked clan and reserve the former one. Raises Conflict and MustWait.

    The owner waits `rename_days` days before the next new name.
    """
    is_spelling = safe_name(name) == safe_name(clan.name)
    ends = (clan.renamed_at_ms or 0) + rename_days * DAY_MS
    if not by_staff and not is_spelling and clan.renamed_at_ms is not None and ends > now:
        left = duration_text(-(-(ends - now) // 1000))
        raise MustWait(f"the clan was renamed recently: wait another {left}", "renaming", ends)
    renamed = clan.renamed_at_ms if by_staff or is_spelling else now
    await tx.run(sql.SET_NAME, of_clan=clan.id, new_name=name, new_safe=safe_name(name), new_renamed=renamed)
    await check_free(tx, clan.id, NAME, safe_name(name), now)
    if not is_spelling:
        await tx.run(sql.RELEASE, of_kind=NAME, of_key=safe_name(name))
        if not by_staff:
            await _check_may_reserve(tx, clan.id, now)
        await reserve(tx, clan.id, NAME, safe_name(clan.name), now)
    await record(tx, clan, "rename", now, actor_id=by, by_staff=by_staff, before=clan.name, after=name, new_name=name)


async def set_tag(tx: Transaction, clan: ChangingClan, tag: str, now: int, by: int, *, by_staff: bool) -> None:
    """Change the tag of a locked clan and reserve the former one. Raises Conflict and MustWait."""
    await tx.run(sql.SET_TAG, of_clan=clan.id, new_tag=tag)
    await check_free(tx, clan.id, TAG, tag, now)
    await tx.run(sql.RELEASE, of_kind=TAG, of_key=tag)
    if not by_staff:
        await _check_may_reserve(tx, clan.id, now)
    await reserve(tx, clan.id, TAG, clan.tag, now)
    await record(tx, clan, "tag", now, actor_id=by, by_staff=by_staff, before=clan.tag, after=tag, new_tag=tag)


async def check_free(tx: Transaction, clan_id: int, kind: int, key: str, now: int) -> None:
    """Raise Conflict if a name or tag is reserved for another clan."""
    holder = await tx.one(sql.RESERVED_FOR, kind=kind, key=key, now_ms=now)
    if holder is not None and holder != clan_id:
        raise Conflict("tag" if kind == TAG else "name")


async def _check_may_reserve(tx: Transaction, clan_id: int, now: int) -> None:
    """Raise MustWait at the limit. A clan keeps every reservation to its end, because it was promised."""
    ends = await tx.all(sql.RESERVED_UNTIL, clan_id=clan_id, now_ms=now)
    if len(ends) >= RESERVED_OF_ONE_MAX:
        left = duration_text(-(-(ends[0] - now) // 1000))
        raise MustWait(
            f"the clan already reserves {RESERVED_OF_ONE_MAX} former names and tags: wait another {left}",
            "reserving",
            ends[0],
        )


async def reserve(tx: Transaction, clan_id: int, kind: int, key: str, now: int) -> None:
    """Reserve a name or tag, which the clan gives up, for it."""
    await tx.run(sql.RELEASE, of_kind=kind, of_key=key)  # an earlier reservation that has ended
    await tx.run(sql.RESERVE, kind=kind, key=key, clan_id=clan_id, until_ms=now + RESERVED_DAYS * DAY_MS)


def check_tag(tag: str) -> None:
    """Raise Invalid for a tag that no clan may have."""
    if (fault := clan_tag_fault(tag)) is not None:
        raise Invalid("tag", fault, tag)


def check_name(name: str) -> None:
    """Raise Invalid for a name that no clan may have."""
    if (fault := clan_name_fault(name)) is not None:
        raise Invalid("name", fault, name)


def checked_description(text: str) -> str:
    """Return the markup of a description with `\n` as line break. Raises Invalid."""
    text = text.replace("\r\n", "\n").strip()
    if len(text) > DESCRIPTION_MAX or not all(line.isprintable() for line in text.split("\n")):
        raise Invalid("description", f"at most {DESCRIPTION_MAX} printable characters", text)
    return text


def nothing_changes(clan: ChangingClan, tag: str | None, name: str | None, form: JoinForm | None) -> str:
    """Return the reason for which an edit that changes nothing is refused."""
    if tag is not None:
        return f"the tag is already {clan.tag}"
    if name is not None:
        return f"the name is already {clan.name}"
    return f"the clan is already {_form(clan)}" if form is not None else "the clan already has this description"


def _form(clan: ChangingClan) -> str:
    return {
        JoinForm.CLOSED: "closed",
        JoinForm.OPEN: "open",
        JoinForm.INVITE: "by invitation",
        JoinForm.REQUEST: "by request",
    }[JoinForm(clan.joining)]
