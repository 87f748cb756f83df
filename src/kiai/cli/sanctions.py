"""The commands `kiai users ...` that staff acts need: sanctions, donor time and notes."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from kiai.accounts import Account
from kiai.cli.common import Invocation, pluralized, reconcile_without_server, with_options
from kiai.cli.users import Name, app, user_object
from kiai.errors import Invalid, Refused
from kiai.osu.durations import duration_text, parse_duration
from kiai.osu.modes import parse_mode
from kiai.staff import OPERATOR
from kiai.staff.audit import utc_text

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.staff.notes import Note
    from kiai.staff.wipes import Wiped

Reason = Annotated[str, typer.Option("--reason", metavar="R", help="Reason, recorded in the audit log.")]
Duration = Annotated[str, typer.Argument(metavar="DURATION", help="A time up to a year, such as 30m, 12h, 7d or 2w.")]
For = Annotated[
    str | None, typer.Option("--for", metavar="DURATION", help="A time up to a year, such as 30m, 12h, 7d or 2w.")
]


def seconds_of(text: str | None) -> int | None:
    """Return the seconds of a duration, None for None. Raises Invalid."""
    if text is None:
        return None
    seconds = parse_duration(text)
    if seconds is None:
        raise Invalid("duration", "a time up to a year, such as 30m, 12h, 7d or 2w", text)
    return seconds


def act(
    call: Invocation,
    name: str,
    work: "Callable[[Services], Awaitable[object]]",
    done: str,
    *,
    reconciles: bool = False,
) -> None:
    """Carry out an act on the account `name` and show the account. `done` says what happened to it.

    `reconciles`: the act hides or shows scores, so first places and counters are recomputed. A running server does it
    in the background.
    """
    out = call.out

    async def body(services: "Services") -> Account:
        user = await services.authority.target(name)
        await work(services)
        if reconciles:
            await reconcile_without_server(out, services)
        return await services.accounts.account_of(user.id)

    account = call.run(body)
    out.result(user_object(account), f"{account.name} {done}.")


@with_options
def restrict(
    call: Invocation,
    name: Name,
    reason: Reason,
    for_: For = None,
) -> None:
    """Hide an account and its scores from everybody else. The player can keep playing."""

    async def work(services: "Services") -> None:
        await services.community.restrictions.restrict(OPERATOR, name, reason, seconds=seconds_of(for_))

    act(call, name, work, "is restricted", reconciles=True)


@with_options
def unrestrict(
    call: Invocation,
    name: Name,
    reason: Reason = "",
    wipes: Annotated[bool, typer.Option("--wipe", help="The former scores stay hidden, as after a wipe.")] = False,
) -> None:
    """Lift a restriction. The account and its scores become visible again."""

    async def work(services: "Services") -> None:
        if wipes:
            await services.community.wipes.unrestrict(OPERATOR, name, reason)
            return
        await services.community.restrictions.unrestrict(OPERATOR, name, reason)

    act(call, name, work, "is no longer restricted", reconciles=True)


@with_options
def ban(call: Invocation, name: Name, reason: Reason) -> None:
    """Restrict an account and lock it out. Its API keys and its IRC password are revoked permanently."""

    async def work(services: "Services") -> None:
        await services.community.restrictions.ban(OPERATOR, name, reason)

    act(call, name, work, "is banned", reconciles=True)


@with_options
def unban(
    call: Invocation,
    name: Name,
    reason: Reason = "",
) -> None:
    """Lift a ban. The account stays restricted."""

    async def work(services: "Services") -> None:
        await services.community.restrictions.unban(OPERATOR, name, reason)

    act(call, name, work, "is unbanned, and restricted")


@with_options
def freeze(
    call: Invocation,
    name: Name,
    reason: Reason,
    for_: For = "7d",
) -> None:
    """Give a player a time to prove something. The account is restricted when it runs out."""

    async def work(services: "Services") -> None:
        seconds = seconds_of(for_)
        assert seconds is not None
        await services.community.restrictions.freeze(OPERATOR, name, reason, seconds=seconds)

    act(call, name, work, "is frozen")


@with_options
def unfreeze(
    call: Invocation,
    name: Name,
    reason: Reason = "",
) -> None:
    """End a freeze."""

    async def work(services: "Services") -> None:
        await services.community.restrictions.unfreeze(OPERATOR, name, reason)

    act(call, name, work, "is no longer frozen")


@with_options
def silence(
    call: Invocation,
    name: Name,
    duration: Duration,
    reason: Reason,
) -> None:
    """Silence a player: no chat, matches, comments, screenshots and profile changes."""

    async def work(services: "Services") -> None:
        seconds = seconds_of(duration)
        assert seconds is not None
        await services.silences.silence(OPERATOR, name, seconds, reason)

    act(call, name, work, f"is silenced for {duration_text(parse_duration(duration) or 0)}")


@with_options
def unsilence(
    call: Invocation,
    name: Name,
    reason: Reason = "",
) -> None:
    """End a silence."""

    async def work(services: "Services") -> None:
        await services.silences.unsilence(OPERATOR, name, reason)

    act(call, name, work, "is unsilenced")


@with_options
def kick(call: Invocation, name: Name, reason: Reason) -> None:
    """Log a player off the game. This is not a sanction: the player can log in again."""

    async def work(services: "Services") -> None:
        await services.community.kicks.kick(OPERATOR, name, reason)

    act(call, name, work, "is kicked")


@with_options
def donor(
    call: Invocation,
    name: Name,
    duration: Annotated[
        str | None, typer.Argument(metavar="[DURATION]", help="The time to add, such as 30d or 4w.")
    ] = None,
    tier: Annotated[str, typer.Option("--tier", metavar="supporter|premium", help="The privilege.")] = "supporter",
    end: Annotated[bool, typer.Option("--end", help="End the donor time now instead.")] = False,
) -> None:
    """Add donor time to what is left, or end it."""
    if end == (duration is not None):
        raise typer.BadParameter("Give either a DURATION or --end.")

    async def work(services: "Services") -> None:
        if end:
            await services.community.donors.take(OPERATOR, name)
            return
        seconds = seconds_of(duration)
        assert seconds is not None
        await services.community.donors.give(OPERATOR, name, seconds, tier)

    given = duration_text(parse_duration(duration or "") or 0)
    act(call, name, work, "is no donor any more" if end else f"is {tier} for {given}")


@with_options
def note(
    call: Invocation,
    name: Name,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The note; only staff can read it.")],
) -> None:
    """Add a note about a player."""
    out = call.out

    async def work(services: "Services") -> int:
        return await services.community.notes.add(OPERATOR, name, text)

    note_id = call.run(work)
    out.result({"id": note_id}, f"Added note {note_id}.")


@with_options
def notes(call: Invocation, name: Name) -> None:
    """List the notes about a player, newest first."""
    out = call.out

    async def work(services: "Services") -> "list[Note]":
        return await services.community.notes.read(OPERATOR, name)

    found = call.run(work)
    rows = [
        {"id": one.id, "at": one.at_ms // 1000, "actor_id": one.author_id, "actor": one.author, "text": one.text}
        for one in found
    ]
    lines = [f"{utc_text(one.at_ms)}  {one.author or 'operator'}: {one.text}" for one in found] or ["No notes."]
    out.result({"notes": rows}, *lines)


@with_options
def rename(
    call: Invocation,
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name.")],
    force: Annotated[bool, typer.Option("--force", help="Also if the name is reserved for a former owner.")] = False,
) -> None:
    """Rename an account. The old name leads to it and stays reserved for 90 days."""

    async def work(services: "Services") -> None:
        await services.community.naming.rename(OPERATOR, name, new, force=force)

    act(call, name, work, f"is the new name of {name}")


@with_options
def country(
    call: Invocation,
    name: Name,
    code: Annotated[str, typer.Argument(metavar="CC", help="Two-letter country code.")],
) -> None:
    """Move an account to another country, with its scores and ranks."""

    async def work(services: "Services") -> None:
        await services.community.naming.set_country(OPERATOR, name, code)

    act(call, name, work, f"is in {code.lower()} now", reconciles=True)


@with_options
def delete(
    call: Invocation,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm: this cannot be undone.")] = False,
) -> None:
    """Delete an account at once: nothing names the player afterwards, and the name is free."""
    out = call.out

    async def work(services: "Services") -> int:
        if not yes:
            target = await services.site.deletion_by_staff.check(OPERATOR, name)
            raise Refused(f"this deletes {target.name} permanently; add --yes to do it")
        user_id = await services.site.deletion_by_staff.delete(OPERATOR, name)
        await reconcile_without_server(out, services)
        return user_id

    user_id = call.run(work)
    out.result({"id": user_id, "deleted": True}, f"Deleted account {user_id}.")


@with_options
def delavatar(call: Invocation, name: Name, reason: Reason) -> None:
    """Remove a player's avatar. The player can set another one."""

    async def work(services: "Services") -> None:
        await services.community.content_removal.remove_avatar(OPERATOR, name, reason)

    act(call, name, work, "has no avatar any more")


@with_options
def deluserpage(call: Invocation, name: Name, reason: Reason) -> None:
    """Remove the text of a player's profile. The player can write another one."""

    async def work(services: "Services") -> None:
        await services.community.content_removal.remove_userpage(OPERATOR, name, reason)

    act(call, name, work, "has no userpage any more")


Mode = Annotated[str | None, typer.Option("--mode", metavar="M", help="Only this mode, such as 0 or vn!std.")]


@with_options
def wipe(
    call: Invocation,
    name: Name,
    reason: Reason,
    mode: Mode = None,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm.")] = False,
) -> None:
    """Hide all scores of an account. Later plays count; `restore` brings the scores back."""
    out = call.out

    async def work(services: "Services") -> "Wiped":
        number = mode_of(mode)
        if not yes:
            target = await services.community.wipes.check_user(OPERATOR, name, reason)
            raise Refused(f"this hides all scores of {target.name}; add --yes to do it")
        done = await services.community.wipes.wipe_user(OPERATOR, name, reason, mode=number)
        await reconcile_without_server(out, services)
        return done

    done = call.run(work)
    out.result({"scores": done.scores}, f"{done.target.name} is wiped: {pluralized(done.scores, 'score')} hidden.")


@with_options
def restore(
    call: Invocation,
    name: Name,
    reason: Reason,
    mode: Mode = None,
) -> None:
    """Bring back the scores that wipes of an account hide. Scores that staff hid one by one stay hidden."""
    out = call.out

    async def work(services: "Services") -> "Wiped":
        done = await services.community.wipes.restore_user(OPERATOR, name, reason, mode=mode_of(mode))
        await reconcile_without_server(out, services)
        return done

    done = call.run(work)
    out.result({"scores": done.scores}, f"{done.target.name} is restored: {pluralized(done.scores, 'score')} visible.")


def mode_of(text: str | None) -> int | None:
    """Return the mode of an option, None for None. Raises Invalid."""
    number = None if text is None else parse_mode(text)
    if text is not None and number is None:  # None would mean all modes
        raise Invalid("mode", "0 to 6 or 8", text)
    return number


for _command in (
    restrict,
    unrestrict,
    ban,
    unban,
    freeze,
    unfreeze,
    silence,
    unsilence,
    kick,
    donor,
    rename,
    country,
    delete,
    delavatar,
    deluserpage,
    wipe,
    restore,
    note,
    notes,
):
    app.command(_command.__name__)(_command)
