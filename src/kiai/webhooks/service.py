"""Webhooks: adding, removing and testing them, and the job that delivers.

Deliveries of one webhook are sent one after another; webhooks do not wait for each other. After a failure the webhook
waits (`RETRY_AFTER_S`, or longer if the receiver asks for it), and its later deliveries with it, so the order stays.
After the last try it is parked.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from kiai.clock import Clock
from kiai.errors import Invalid, KiaiError, NotFound, Refused
from kiai.ids import Ids
from kiai.logs import get_logger
from kiai.secret_box import SecretBox
from kiai.storage.port import Database, Transaction
from kiai.webhooks import discord_format, json_format, statements
from kiai.webhooks.addresses import host_of, shown
from kiai.webhooks.directory import completed
from kiai.webhooks.model import (
    ERROR_MAX,
    EVENTS,
    ID_LENGTH,
    RETRY_AFTER_S,
    TEST,
    WEBHOOKS_MAX,
    Answer,
    Delivery,
    Format,
    Webhook,
    bits_of,
)
from kiai.webhooks.queue import enqueue
from kiai.webhooks.sending import Sender

PURPOSE: Final = "webhook"
CLAIM_MS: Final = 15_000
"""Seconds after which other workers take over the webhook of a dead worker. A try takes less, and renews the claim."""
SECRET_MAX: Final = 200
CLAIM_BYTES: Final = 9
ID_MAX: Final = 2**63 - 1
STOP_S: Final = 1.5
"""Seconds in which a stopping server stores and delivers `server_stop`. Later, the next server delivers it."""


class Webhooks:
    """Stores and delivers. `server` is the name of the server, and `link` turns a path of the website into a URL.

    `outcomes` counts tries by result, for the metrics: `delivered`, `failed`, `dropped`. `waiting` and `parked` are the
    numbers of waiting deliveries and of parked webhooks at the last call of `count`.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        box: SecretBox,
        sender: Sender,
        *,
        server: str,
        link: Callable[[str], str],
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._box = box
        self._sender = sender
        self._server = server
        self._link = link
        self._running: dict[int, asyncio.Task[None]] = {}
        self.outcomes: dict[str, int] = {}
        self.waiting: int | None = None
        self.parked: int | None = None

    # --- the list

    async def check_new(self, url: str, events: list[str], secret: str) -> None:
        """Raise Invalid, Refused or Unavailable for values that `add` must not store."""
        host_of(url)
        if not events:
            raise Invalid("events", f"one or more of {', '.join(EVENTS)}", "none")
        for event in events:
            if event not in EVENTS:
                raise Invalid("event", f"one of {', '.join(EVENTS)}", event)
        if not 0 < len(secret) <= SECRET_MAX:
            raise Invalid("secret", f"a text of 1 to {SECRET_MAX} characters", "another one")
        await self._sender.check(url)

    def seal(self, secret: str) -> bytes:
        """Return the encrypted secret for `add`, which runs in a transaction and must not read files."""
        return self._box.seal(secret.encode(), PURPOSE)

    async def add(self, tx: Transaction, url: str, format_: Format, events: list[str], sealed: bytes) -> int:
        """Store a webhook that `check_new` accepts and return its id. Raises Refused beyond 32 webhooks."""
        if (await tx.one(statements.COUNT) or 0) >= WEBHOOKS_MAX:
            raise Refused(f"there are {WEBHOOKS_MAX} webhooks already; remove one first")
        webhook_id = await tx.one(
            statements.ADD,
            url=url,
            format=str(format_),
            events=bits_of(events),
            secret=sealed,
            created_at_ms=self._clock.now_ms(),
        )
        assert webhook_id is not None
        return int(webhook_id)

    async def remove(self, tx: Transaction, webhook_id: int) -> None:
        """Remove a webhook. A job deletes its waiting deliveries. Raises NotFound("webhook")."""
        if not await tx.run(statements.REMOVE, webhook=webhook_id):
            raise NotFound("webhook")

    async def all(self) -> list[Webhook]:
        """Return all webhooks in order of their ids."""
        return await self._database.all(statements.ALL)

    async def find(self, webhook_id: int) -> Webhook:
        """Return a webhook. Raises NotFound("webhook")."""
        if not 0 < webhook_id <= ID_MAX:  # PostgreSQL raises an error for a larger number
            raise NotFound("webhook")
        found = await self._database.one(statements.BY_ID, id=webhook_id)
        if found is None:
            raise NotFound("webhook")
        return found

    async def waiting_for(self, webhook_id: int) -> int:
        """Return the number of deliveries that wait for a webhook."""
        return await self._database.one(statements.WAITING, webhook=webhook_id) or 0

    # --- one message

    async def test(self, webhook: Webhook) -> Answer:
        """Send the event `test` now, and return the result. The caller unparks the webhook if it was delivered."""
        now = self._clock.now_ms()
        return await self._post(webhook, TEST, {}, self._ids.token()[:ID_LENGTH], now)

    async def resume(self, tx: Transaction, webhook_id: int) -> None:
        """Let a parked webhook be tried again, now and as often as a new one."""
        await tx.run(statements.RESUME, webhook=webhook_id)

    async def _post(self, webhook: Webhook, event: str, data: dict[str, Any], delivery_id: str, at_ms: int) -> Answer:
        opened = self._box.open(webhook.secret, PURPOSE)
        if opened is None:
            return Answer(0, "its secret cannot be read, because the file secret.key was replaced; add it again")
        if webhook.format == Format.DISCORD:
            body = discord_format.body_of(event, data, at_ms=at_ms, server=self._server, link=self._link)
        else:
            body = json_format.body_of(event, data, delivery_id=delivery_id, at_ms=at_ms, server=self._server)
        headers = json_format.headers_of(
            event, body, opened.decode(), delivery_id=delivery_id, now_ms=self._clock.now_ms()
        )
        return await self._sender.post(webhook.url, headers, body)

    # --- the job

    async def announce(self, event: str, data: dict[str, object]) -> None:
        """Enqueue an event that belongs to no other transaction."""
        now = self._clock.now_ms()
        await self._database.transaction(lambda tx: enqueue(tx, event, data, now))

    async def deliver(self) -> None:
        """Begin to deliver for each webhook with waiting deliveries that are due. A job calls this on every worker."""
        for webhook_id in await self._database.all(statements.DUE, now_ms=self._clock.now_ms()):
            if webhook_id not in self._running:
                task = asyncio.create_task(self._deliver_to(webhook_id), name=f"webhook {webhook_id}")
                self._running[webhook_id] = task
                task.add_done_callback(lambda done, id_=webhook_id: self._ended(id_, done))  # type: ignore[misc]

    async def idle(self) -> None:
        """Wait until no delivery runs in this process."""
        while self._running:
            await asyncio.wait(list(self._running.values()))

    async def deliver_stop(self) -> None:
        """Enqueue `server_stop` and wait a moment for its delivery: `STOP_S` for both."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self.announce("server_stop", {})
                await self.deliver()
                if self._running:
                    await asyncio.wait(list(self._running.values()))

    def _ended(self, webhook_id: int, task: asyncio.Task[None]) -> None:
        self._running.pop(webhook_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The claim ends by itself, and the delivery is tried again.
            get_logger("webhooks").error("delivery failed", webhook=webhook_id, exc_info=error)

    async def _deliver_to(self, webhook_id: int) -> None:
        """Send the deliveries of one webhook, oldest first, until none is left, one fails or the claim is lost."""
        mine = self._ids.token(CLAIM_BYTES)
        webhook = await self._claim(webhook_id, mine)
        if webhook is None:
            return
        try:
            while (delivery := await self._database.one(statements.NEXT, webhook=webhook_id)) is not None:
                answer = await self._send(webhook, delivery)
                if answer is not None and not answer.delivered:
                    await self._failed(webhook_id, mine, answer)
                    return
                # A process that dies between the two lines sends it again, with the same id.
                if not await self._done(webhook_id, mine, delivery):
                    return
        finally:
            await self._release(webhook_id, mine)

    async def _send(self, webhook: Webhook, delivery: Delivery) -> Answer | None:
        """Try to send a delivery and return the result, or None for one that is not sent at all."""
        try:
            data = await completed(self._database, delivery)
            if data is None:
                return None
            delivery_id = webhook.delivery_id(delivery.id, delivery.at_ms)
            answer = await self._post(webhook, delivery.event, data, delivery_id, delivery.at_ms)
        except KiaiError:
            raise  # a store does not answer: the claim ends, and the delivery stays
        except Exception as error:  # no retry can send it, and it must not stop the ones behind it
            self._count("dropped")
            get_logger("webhooks").error(
                "delivery cannot be written", webhook=webhook.id, about=delivery.event, exc_info=error
            )
            return None
        self._count("delivered" if answer.delivered else "failed")
        return answer

    async def _claim(self, webhook_id: int, mine: str) -> Webhook | None:
        """Return the webhook if this task has the claim on it now."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> Webhook | None:
            if not await tx.run(statements.CLAIM, webhook=webhook_id, now_ms=now, mine=mine, until_ms=now + CLAIM_MS):
                return None
            return await tx.one(statements.BY_ID, id=webhook_id)

        return await self._database.transaction(body)

    async def _release(self, webhook_id: int, mine: str) -> None:
        async def body(tx: Transaction) -> None:
            await tx.run(statements.RELEASE, webhook=webhook_id, mine=mine)

        await self._database.transaction(body)

    async def _done(self, webhook_id: int, mine: str, delivery: Delivery) -> bool:
        """Delete a delivery. Return whether this task still has the claim, which is renewed."""
        until = self._clock.now_ms() + CLAIM_MS

        async def body(tx: Transaction) -> bool:
            await tx.run(statements.DONE, row=delivery.id)
            return bool(await tx.run(statements.WORKED, webhook=webhook_id, mine=mine, until_ms=until))

        return await self._database.transaction(body)

    async def _failed(self, webhook_id: int, mine: str, answer: Answer) -> None:
        """Schedule the next try, or park the webhook."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> Webhook | None:
            webhook = await tx.one(statements.BY_ID, id=webhook_id)
            if webhook is None:
                return None
            parked = webhook.failures >= len(RETRY_AFTER_S)
            wait_s = 0.0 if parked else max(RETRY_AFTER_S[webhook.failures], answer.retry_after_s)
            changed = await tx.run(
                statements.FAILED,
                webhook=webhook_id,
                mine=mine,
                new_failures=webhook.failures + 1,
                new_error=answer.error[:ERROR_MAX],
                again_ms=now + round(1000 * wait_s),
                now_parked=int(parked),
            )
            return webhook if changed else None

        webhook = await self._database.transaction(body)
        if webhook is not None:
            parked = webhook.failures >= len(RETRY_AFTER_S)
            get_logger("webhooks").warning(
                "webhook parked" if parked else "webhook not delivered",
                webhook=webhook_id,
                to=shown(webhook.url),
                why=answer.error[:ERROR_MAX],
                failures=webhook.failures + 1,
            )

    # --- bounds and figures

    async def bound(self) -> None:
        """Drop the oldest deliveries beyond 10,000 of a webhook, and those of removed ones. A shared job calls this."""
        for webhook in await self.all():
            oldest = await self._database.one(statements.OLDEST_WAITING, webhook=webhook.id)
            while oldest is not None and await self._drop(webhook.id, oldest) == statements.DELETED_AT_ONCE:
                pass

        async def orphans(tx: Transaction) -> int:
            return await tx.run(statements.DROP_ORPHANS)

        while await self._database.transaction(orphans) == statements.DELETED_AT_ONCE:
            pass

    async def _drop(self, webhook_id: int, oldest: int) -> int:
        async def body(tx: Transaction) -> int:
            dropped = await tx.run(statements.DROP, webhook=webhook_id, oldest=oldest)
            if dropped:
                await tx.run(statements.COUNT_DROPPED, webhook=webhook_id, by=dropped)
            return dropped

        dropped = await self._database.transaction(body)
        if dropped:
            self._count("dropped", dropped)
            get_logger("webhooks").error("oldest deliveries dropped", webhook=webhook_id, dropped=dropped)
        return dropped

    async def count(self) -> None:
        """Read `waiting` and `parked`. A job calls this."""
        self.waiting = self.parked = None  # a value that cannot be read is not shown
        found = await self.all()
        self.waiting = sum([await self.waiting_for(webhook.id) for webhook in found])
        self.parked = sum(webhook.parked for webhook in found)

    def _count(self, outcome: str, by: int = 1) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + by

    async def close(self) -> None:
        """Cancel what runs, release the claims and close the connections."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sender.close()
