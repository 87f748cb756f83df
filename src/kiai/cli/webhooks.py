"""The commands `kiai webhooks ...`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from kiai.cli.common import Invocation, with_options
from kiai.osu.texts import visible
from kiai.staff import OPERATOR
from kiai.webhooks.model import EVENTS, Answer, Format, Webhook

if TYPE_CHECKING:
    from kiai.app import Services

app = typer.Typer(help="Manage webhooks: URLs that get a message about each event.", no_args_is_help=True)

Id = Annotated[int, typer.Argument(metavar="ID", help="Id of the webhook, see `kiai webhooks list`.")]


def _object(webhook: Webhook, waiting: int) -> dict[str, object]:
    return {
        "id": webhook.id,
        "url": webhook.url,
        "format": webhook.format,
        "events": webhook.event_names,
        "state": "parked" if webhook.parked else "ok",
        "failures": webhook.failures,
        "last_error": webhook.last_error,
        "waiting": waiting,
        "dropped": webhook.dropped,
    }


def _line(found: dict[str, object], events: list[str]) -> str:
    error = f"  {found['failures']} failures, last: {found['last_error']}" if found["failures"] else ""
    waiting = f"  {found['waiting']} waiting" if found["waiting"] else ""
    return f"{found['id']:>4}  {found['state']}  {found['format']}  {','.join(events)}  {found['url']}{waiting}{error}"


@app.command("add")
@with_options
def add(
    call: Invocation,
    url: Annotated[str, typer.Argument(metavar="URL", help="Address that gets the messages.")],
    events: Annotated[
        str, typer.Option("--events", metavar="E,E", help=f"Events, separated by commas: {', '.join(EVENTS)}.")
    ],
    format_: Annotated[
        str, typer.Option("--format", metavar="F", help="json (signed), or discord for a webhook of Discord.")
    ] = str(Format.JSON),
    secret: Annotated[
        str | None,
        typer.Option("--secret", metavar="S", show_default="random", help="Text that signs the messages."),
    ] = None,
) -> None:
    """Add a webhook and show its secret, once.

    Example: kiai webhooks add https://example.org/kiai --events report,sanction
    """
    out = call.out
    wanted = [event.strip() for event in events.split(",") if event.strip()]

    async def work(services: "Services") -> tuple[int, str]:
        editor = services.community.webhook_editor
        return await editor.add(OPERATOR, url, wanted, format_=format_, secret=secret)

    webhook_id, used = call.run(work)
    out.result({"id": webhook_id, "secret": used}, f"Added webhook {webhook_id}.", f"Its secret: {used}")


@app.command("list")
@with_options
def list_(call: Invocation) -> None:
    """List all webhooks with their state."""
    out = call.out

    async def work(services: "Services") -> list[tuple[Webhook, int]]:
        webhooks = services.community.webhooks
        return [(webhook, await webhooks.waiting_for(webhook.id)) for webhook in await webhooks.all()]

    found = call.run(work)
    objects = [_object(webhook, waiting) for webhook, waiting in found]
    lines = [_line(object_, webhook.event_names) for object_, (webhook, _) in zip(objects, found, strict=True)] or [
        "There are no webhooks."
    ]
    out.result({"webhooks": objects}, *lines)


@app.command("remove")
@with_options
def remove(call: Invocation, webhook_id: Id) -> None:
    """Remove a webhook and the messages that wait for it."""
    out = call.out

    async def work(services: "Services") -> Webhook:
        return await services.community.webhook_editor.remove(OPERATOR, webhook_id)

    removed = call.run(work)
    out.result({"id": removed.id, "removed": True}, f"Removed webhook {removed.id}.")


@app.command("test")
@with_options
def send_test(call: Invocation, webhook_id: Id) -> None:
    """Send a test message now. If it is delivered, a parked webhook continues."""
    out = call.out

    async def work(services: "Services") -> Answer:
        return await services.community.webhook_editor.test(OPERATOR, webhook_id)

    answer = call.run(work)
    result = {"delivered": answer.delivered, "status": answer.status, "error": answer.error}
    if answer.delivered:
        out.result(result, f"Delivered: the receiver answered {answer.status}.")
        return
    if out.as_json:
        out.result(result)
    print(visible(f"kiai: not delivered: {answer.error}"), file=sys.stderr)
    raise typer.Exit(1)
