"""The operator's acts on the word filter: adding, changing and removing rules. Each has its row in the audit log.

Every worker reads the rules again within `RELOAD_EVERY_S` after a change by any process.
"""

from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select, update

from kiai.chat import queries
from kiai.chat.filtering import REPLACEMENT_MAX, WordFilter, checked_pattern
from kiai.chat.model import FilterRule
from kiai.clock import Clock
from kiai.errors import Invalid, NotFound, Refused
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.silences import SECONDS_MAX
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.tables import chat_filters

PERMISSION: Final = "filter.write"

_ONE = Query(
    select(chat_filters.c.pattern, chat_filters.c.replacement, chat_filters.c.silence_s).where(
        chat_filters.c.pattern == bindparam("of")
    ),
    FilterRule,
)
_COUNT = Query(select(func.count()).select_from(chat_filters), scalar)
_ADD = Command(
    insert(chat_filters).values(
        {name: bindparam(name) for name in ("pattern", "replacement", "silence_s", "changed_at_ms")}
    )
)
_SET = Command(
    update(chat_filters)
    .where(chat_filters.c.pattern == bindparam("of"))
    .values(
        replacement=bindparam("new_replacement"), silence_s=bindparam("new_silence_s"), changed_at_ms=bindparam("at_ms")
    )
)
_REMOVE = Command(delete(chat_filters).where(chat_filters.c.pattern == bindparam("of")))


class FilterDesk:
    """Lists and changes the rules. Each method checks the actor's stored privileges."""

    def __init__(self, database: Database, authority: Authority, clock: Clock, word_filter: WordFilter) -> None:
        self._database = database
        self._authority = authority
        self._clock = clock
        self._word_filter = word_filter

    async def all(self, actor: Actor) -> list[FilterRule]:
        """Return all rules by pattern. Raises NotAllowed."""
        await self._authority.require(actor, PERMISSION)
        return await self._database.all(queries.FILTER_RULES)

    async def set(
        self, actor: Actor, pattern: str, *, replacement: str | None = None, silence_s: int = 0
    ) -> FilterRule:
        """Add or change the rule of a pattern. Without a replacement, lines with the pattern are blocked.

        `silence_s` is at most a year; 0 silences nobody. Raises NotAllowed, Invalid, and Refused at the limit of rules.
        """
        await self._authority.require(actor, PERMISSION)
        rule = FilterRule(checked_pattern(pattern), replacement, silence_s)
        if replacement is not None and not (
            0 < len(replacement.strip()) <= len(replacement) <= REPLACEMENT_MAX and replacement.isprintable()
        ):
            raise Invalid("replacement", f"a text of 1 to {REPLACEMENT_MAX} printable characters", replacement)
        if not 0 <= silence_s <= SECONDS_MAX:
            raise Invalid("silence", "at most 1 year", f"{silence_s} s")
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.lock(tx)
            before = await tx.one(_ONE, of=rule.pattern)
            if before is not None:
                await tx.run(
                    _SET, of=rule.pattern, new_replacement=rule.replacement, new_silence_s=rule.silence_s, at_ms=now
                )
            elif (await tx.one(_COUNT) or 0) >= queries.FILTER_RULES_MAX:
                raise Refused(f"there are {queries.FILTER_RULES_MAX} patterns; remove one first")
            else:
                await tx.run(
                    _ADD,
                    pattern=rule.pattern,
                    replacement=rule.replacement,
                    silence_s=rule.silence_s,
                    changed_at_ms=now,
                )
            await self._record(tx, actor, now, rule.pattern, before, rule)

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        await self._word_filter.reload()
        return rule

    async def remove(self, actor: Actor, pattern: str) -> FilterRule:
        """Remove the rule of a pattern and return it. Raises NotAllowed, Invalid, NotFound."""
        await self._authority.require(actor, PERMISSION)
        pattern = checked_pattern(pattern)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> FilterRule:
            await audit.lock(tx)
            before = await tx.one(_ONE, of=pattern)
            if before is None:
                raise NotFound("pattern")
            await tx.run(_REMOVE, of=pattern)
            await self._record(tx, actor, now, pattern, before, None)
            return before

        removed = await self._authority.transaction(Requirement(actor, PERMISSION), body)
        await self._word_filter.reload()
        return removed

    async def reload(self, actor: Actor) -> int:
        """Read the rules again in this process now, and return their number. Raises NotAllowed."""
        await self._authority.require(actor, PERMISSION)
        count = await self._word_filter.reload()
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            details = {"what": "filter", "patterns": count}
            await audit.write(tx, actor, "reload", at_ms=now, target_kind="setting", target_id=0, details=details)

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        return count

    async def _record(
        self, tx: Transaction, actor: Actor, now: int, pattern: str, before: FilterRule | None, after: FilterRule | None
    ) -> None:
        await audit.write(
            tx,
            actor,
            "filter_edit",
            at_ms=now,
            target_kind="setting",
            target_id=0,
            details={
                "pattern": pattern,
                "before": None if before is None else rule_object(before),
                "after": None if after is None else rule_object(after),
            },
        )


def rule_object(rule: FilterRule) -> dict[str, object]:
    """Return a rule as the command line and the audit log show it: null as replacement blocks, silence in seconds."""
    return {"pattern": rule.pattern, "replacement": rule.replacement, "silence": rule.silence_s}
