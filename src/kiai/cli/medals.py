"""The commands `kiai medals ...`."""

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from kiai.cli.common import Invocation, pluralized, progress_bar, with_options
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.scores.medal_backfill import BackfillReport

app = typer.Typer(help="Award medals.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Award medals."""


@app.command("backfill")
@with_options
def backfill(
    call: Invocation,
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="Only this player.")] = None,
) -> None:
    """Award the medals that stored plays have earned and that are missing. No medal is taken away.

    Example: kiai medals backfill --user "Some Player"
    """
    out = call.out

    async def work(services: "Services") -> "BackfillReport":
        user_id = None if user is None else (await services.authority.target(user)).id
        total = 1 if user_id is not None else await services.accounts.total()
        with progress_bar(out, "Examining players") as progress:
            return await services.community.medal_awards.award_now(
                OPERATOR, user_id=user_id, progress=lambda players: progress(players, max(players, total))
            )

    report = call.run(work)
    lines = [
        f"Awarded {pluralized(report.medals, 'medal')}; examined {pluralized(report.players, 'player')}.",
        *([f"The stars of {pluralized(report.failed, 'play')} cannot be computed."] if report.failed else []),
    ]
    out.result(msgspec.to_builtins(report), *lines)
