"""The commands `kiai jobs ...`."""

from typing import TYPE_CHECKING, Annotated

import typer

from kiai.cli.common import Invocation, with_options
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.staff.job_runs import JobRun

app = typer.Typer(help="Start, watch and cancel jobs of the running server.", no_args_is_help=True)

ReasonOption = Annotated[str, typer.Option("--reason", metavar="R", help="The reason, for the audit log.")]


@app.command("list")
@with_options
def list_(call: Invocation) -> None:
    """List the newest 50 runs, newest first, with their progress."""
    out = call.out

    async def work(services: "Services") -> list["JobRun"]:
        return (await services.community.job_desk.page(OPERATOR))[0]

    found = call.run(work)
    lines = [_line(run) for run in found] or ["No job was started yet."]
    out.result({"runs": [_object(run) for run in found]}, *lines)


@app.command("start")
@with_options
def start(
    call: Invocation,
    job: Annotated[str, typer.Argument(metavar="JOB", help="recalc, backup, import, refresh or medals.")],
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="For recalc and medals: only this player.")] = "",
    map_id: Annotated[str, typer.Option("--map", metavar="ID", help="For recalc: only this map.")] = "",
    mode: Annotated[str, typer.Option("--mode", metavar="M", help="For recalc: only this mode.")] = "",
    status: Annotated[
        str, typer.Option("--status", metavar="STATUS", help="For import: the status of the imported maps.")
    ] = "",
    reason: ReasonOption = "",
) -> None:
    """Start a job. A running server carries it out; without one it waits for the next server.

    Example: kiai jobs start recalc --mode 0
    """
    out = call.out
    given = {"user": user, "map": map_id, "mode": mode, "status": status}

    async def work(services: "Services") -> int:
        return await services.community.job_desk.start(OPERATOR, job, given, reason)

    run_id = call.run(work)
    out.result({"id": run_id}, f"Run {run_id} is queued.")


@app.command("cancel")
@with_options
def cancel(
    call: Invocation,
    run_id: Annotated[int, typer.Argument(metavar="ID", help="Id of the run, see `kiai jobs list`.")],
    reason: ReasonOption = "",
) -> None:
    """Cancel a run that waits or runs. Its results so far stay."""
    out = call.out

    async def work(services: "Services") -> "JobRun":
        await services.community.job_desk.cancel(OPERATOR, run_id, reason)
        return await services.community.job_desk.one(OPERATOR, run_id)

    run = call.run(work)
    out.result(_object(run), f"Run {run.id} is {run.state_name}.")


def _object(run: "JobRun") -> dict[str, object]:
    return {
        "id": run.id,
        "job": run.kind,
        "parameters": run.parameters,
        "state": run.state_name,
        "done": run.done,
        "total": run.total,
        "actor_id": run.actor_id,
        "source": run.source,
        "requested_at": run.requested_at_ms // 1000,
        "started_at": run.started_at_ms // 1000 or None,
        "ended_at": run.ended_at_ms // 1000 or None,
        "lines": [line for line in run.lines.split("\n") if line],
    }


def _line(run: "JobRun") -> str:
    progress = f"{run.done} of {run.total}" if run.total else str(run.done)
    last = run.lines.rpartition("\n")[2]
    return f"{run.id:>5}  {run.kind:<8}  {run.state_name:<10}  {progress}{f'  {last}' if last else ''}"
