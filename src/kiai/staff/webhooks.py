"""Acts on webhooks: adding, removing and testing one, each with its audit row."""

import secrets
from typing import Final

import msgspec

from kiai.clock import Clock
from kiai.errors import Invalid
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.reasons import checked_reason
from kiai.storage.port import Transaction
from kiai.webhooks import Format, Webhook, Webhooks
from kiai.webhooks.addresses import shown
from kiai.webhooks.model import Answer

SECRET_BYTES: Final = 32
RIGHT: Final = "webhooks.write"


class WebhookState(msgspec.Struct, frozen=True):
    """A webhook with the number of deliveries that wait for it. `name` is its URL without the path, which is secret."""

    webhook: Webhook
    waiting: int

    @property
    def id(self) -> int:
        """The id of the webhook."""
        return self.webhook.id

    @property
    def name(self) -> str:
        """The scheme and host of the receiver."""
        return shown(self.webhook.url)


class WebhookEditor:
    """Adds, removes and tests webhooks. Raises NotAllowed without the right; actor 0, the operator, has it."""

    def __init__(self, authority: Authority, webhooks: Webhooks, clock: Clock) -> None:
        self._authority = authority
        self._webhooks = webhooks
        self._clock = clock

    async def states(self, actor: Actor) -> list[WebhookState]:
        """Return all webhooks, at most 32, in order of their ids."""
        await self._authority.require(actor, RIGHT)
        return [await self._state(webhook) for webhook in await self._webhooks.all()]

    async def state(self, actor: Actor, webhook_id: int) -> WebhookState:
        """Return a webhook. Raises NotFound("webhook")."""
        await self._authority.require(actor, RIGHT)
        return await self._state(await self._webhooks.find(webhook_id))

    async def _state(self, webhook: Webhook) -> WebhookState:
        return WebhookState(webhook, await self._webhooks.waiting_for(webhook.id))

    async def add(
        self, actor: Actor, url: str, events: list[str], *, format_: str = Format.JSON, secret: str | None = None
    ) -> tuple[int, str]:
        """Add a webhook and return its id and secret. Without `secret` it gets 32 random bytes as hex.

        Raises Invalid for a URL, event, format or secret that is not allowed, Refused for a private address and beyond
        32 webhooks, and Unavailable if the host cannot be resolved.
        """
        await self._authority.require(actor, RIGHT)
        if format_ not in list(Format):
            raise Invalid("format", f"one of {', '.join(Format)}", format_)
        secret = secrets.token_hex(SECRET_BYTES) if secret is None else secret
        await self._webhooks.check_new(url, events, secret)
        sealed = self._webhooks.seal(secret)

        async def body(tx: Transaction) -> int:
            await audit.lock(tx)
            webhook_id = await self._webhooks.add(tx, url, Format(format_), events, sealed)
            # Without the path, which is a secret in the URLs of Discord.
            after = {"to": shown(url), "format": format_, "events": sorted(set(events))}
            await self._write(tx, actor, webhook_id, {"before": None, "after": after})
            return webhook_id

        return await self._authority.transaction(Requirement(actor, RIGHT), body), secret

    async def remove(self, actor: Actor, webhook_id: int, reason: str = "") -> Webhook:
        """Remove a webhook with its waiting deliveries and return it. Raises NotFound("webhook") and Invalid."""
        await self._authority.require(actor, RIGHT)
        reason = checked_reason(reason, optional=True)
        found = await self._webhooks.find(webhook_id)

        async def body(tx: Transaction) -> None:
            await self._webhooks.remove(tx, webhook_id)
            before = {"to": shown(found.url), "format": found.format, "events": found.event_names}
            await self._write(tx, actor, webhook_id, {"before": before, "after": None}, reason)

        await self._authority.transaction(Requirement(actor, RIGHT), body)
        return found

    async def test(self, actor: Actor, webhook_id: int, reason: str = "") -> Answer:
        """Send a test now. One that is delivered unparks the webhook. Raises NotFound("webhook") and Invalid."""
        await self._authority.require(actor, RIGHT)
        reason = checked_reason(reason, optional=True)
        webhook = await self._webhooks.find(webhook_id)
        answer = await self._webhooks.test(webhook)

        async def body(tx: Transaction) -> None:
            details: dict[str, object] = {"test": {"delivered": answer.delivered, "status": answer.status}}
            if answer.delivered:
                await self._webhooks.resume(tx, webhook_id)
                details |= {"before": {"parked": bool(webhook.parked)}, "after": {"parked": False}}
            await self._write(tx, actor, webhook_id, details, reason)

        await self._authority.transaction(Requirement(actor, RIGHT), body)
        return answer

    async def _write(
        self, tx: Transaction, actor: Actor, webhook_id: int, details: dict[str, object], reason: str = ""
    ) -> None:
        await audit.write(
            tx,
            actor,
            "webhook_edit",
            at_ms=self._clock.now_ms(),
            target_kind="webhook",
            target_id=webhook_id,
            reason=reason,
            details=details,
        )
