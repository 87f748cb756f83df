"""The commands `kiai flags ...`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from kiai.cli.common import Invocation, pluralized, with_options
from kiai.errors import Invalid
from kiai.scores.flags import KINDS, STATES, VERDICTS, FlagObject, State
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.scores.evidence import ScanReport

LISTED_AT_ONCE = 500

app = typer.Typer(help="Signs of cheating: read and close flags, examine old plays.", no_args_is_help=True)

UserOption = Annotated[str | None, typer.Option("--user", metavar="NAME", help="Only flags or plays of this account.")]


def _line(flag: FlagObject) -> str:
    at = datetime.fromtimestamp(flag.at, UTC).strftime("%Y-%m-%d %H:%M")
    score = "" if flag.score_id is None else f"  score {flag.score_id}"
    other = "" if flag.other_score_id is None else f" like {flag.other_score_id}"
    verdict = f"  [{flag.verdict}]" if flag.state == "closed" else ""
    return f"{flag.id:>8}  {at}  {flag.player.name:<15}  {flag.kind}{score}{other}{verdict}: {flag.details}"


@app.command("list")
@with_options
def list_(
    call: Invocation,
    user: UserOption = None,
    kind: Annotated[str | None, typer.Option("--kind", metavar="K", help="Only flags of this kind.")] = None,
    state: Annotated[str, typer.Option("--state", metavar="S", help="open, closed or all.")] = "open",
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Number of flags.")] = LISTED_AT_ONCE,
) -> None:
    """List flags, newest first. `figures` of the JSON has the measured numbers and the threshold."""
    out = call.out

    async def work(services: "Services") -> tuple[list[FlagObject], int]:
        state_ = _state(state)
        if kind is not None and kind not in KINDS:
            raise Invalid("kind", "one of " + ", ".join(KINDS), kind)
        user_id = None if user is None else (await services.accounts.account(user)).id
        queue = services.community.flag_queue
        total = await queue.count(OPERATOR, user_id=user_id, kind=kind, state=state_)
        return await queue.page(OPERATOR, user_id=user_id, kind=kind, state=state_, limit=limit), total

    found, total = call.run(work)
    objects = [msgspec.to_builtins(flag) for flag in found]
    out.result({"flags": objects, "total": total}, *(list(map(_line, found)) or ["No flags."]))


def _state(text: str) -> State:
    if text not in STATES:
        raise Invalid("state", "open, closed or all", text)
    return text  # type: ignore[return-value]  # one of the literals


@app.command("close")
@with_options
def close(
    call: Invocation,
    flag_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=2**63 - 1, help="Id of the flag.")],
    verdict: Annotated[str, typer.Option("--verdict", metavar="V", help=", ".join(VERDICTS) + ".")],
    text: Annotated[str, typer.Option("--text", metavar="T", help="Reason, recorded with the verdict.")] = "",
) -> None:
    """Close a flag with a verdict. It is not raised again for the same play, or pair of plays."""
    out = call.out

    async def work(services: "Services") -> FlagObject:
        return await services.community.flag_queue.close(OPERATOR, flag_id, verdict, text)

    closed = call.run(work)
    out.result(msgspec.to_builtins(closed), f"Closed flag {closed.id} of {closed.player.name}: {closed.verdict}.")


@app.command("scan")
@with_options
def scan(
    call: Invocation,
    map_id: Annotated[
        int | None, typer.Option("--map", metavar="ID", min=1, max=2**31 - 1, help="Only plays on this map.")
    ] = None,
    user: UserOption = None,
) -> None:
    """Examine stored plays for signs of cheating. A scan can be stopped and repeated: nothing is raised twice."""
    out = call.out

    async def work(services: "Services") -> "ScanReport":
        user_id = None if user is None else (await services.accounts.account(user)).id
        return await services.community.flag_queue.scan(OPERATOR, map_id=map_id, user_id=user_id)

    report = call.run(work)
    out.result(
        {"scanned": report.scanned, "raised": report.raised},
        f"Examined {pluralized(report.scanned, 'play')}, raised {pluralized(report.raised, 'flag')}.",
    )
