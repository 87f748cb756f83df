"""The commands `kiai scores ...`."""

from typing import TYPE_CHECKING, Annotated

import typer

from kiai.cli.common import Invocation, reconcile_without_server, with_options
from kiai.cli.sanctions import Reason
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.staff.wipes import HiddenScore

app = typer.Typer(help="Hide single scores, or show them again.", no_args_is_help=True)

ScoreId = Annotated[int, typer.Argument(metavar="ID", min=0, max=2**63 - 1, help="The id of the score.")]


@app.command("hide")
@with_options
def hide(call: Invocation, score_id: ScoreId, reason: Reason) -> None:
    """Hide one score. The player's next best takes its place.

    Example: kiai scores hide 4711 --reason tw
    """
    _set_hidden(call, score_id, reason, hidden=True)


@app.command("unhide")
@with_options
def unhide(call: Invocation, score_id: ScoreId, reason: Reason) -> None:
    """Show a single score again that staff hid."""
    _set_hidden(call, score_id, reason, hidden=False)


def _set_hidden(call: Invocation, score_id: int, reason: str, *, hidden: bool) -> None:
    out = call.out

    async def work(services: "Services") -> "HiddenScore":
        wipes = services.community.wipes
        done = await (wipes.hide_score if hidden else wipes.unhide_score)(OPERATOR, score_id, reason)
        await reconcile_without_server(out, services)
        return done

    done = call.run(work)
    out.result(
        {"score_id": done.score_id, "player": {"id": done.player.id, "name": done.player.name}, "hidden": hidden},
        f"Score {done.score_id} of {done.player.name} is {'hidden' if hidden else 'visible again'}.",
    )
