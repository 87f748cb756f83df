"""The names of keys in Redis, and the scripts that use them.

Scripts are atomic, so all keys of a script are in one place. In a Redis Cluster that is a hash slot: the part of a name
in braces decides it. The keys are therefore in three groups, which no script crosses. One Redis has all of them, and
their names have no tag.
"""

import hashlib
import secrets
from importlib import resources
from typing import Any, Final

from redis.asyncio import Redis, RedisCluster

from kiai.measuring import Timings
from kiai.realtime.cluster import SlotRoute
from kiai.realtime.connecting import ServerRoute
from kiai.realtime.pipeline import Pipeline, ScriptMissing

PREFIX: Final = "kiai:"
SESSIONS: Final = "sessions"
"""Sessions, topics, statuses, matches, once-keys and the log of changes: what one change must change together."""
LIMITS: Final = "limits"
"""Buckets, stashes and leases."""
RANKINGS: Final = "rankings"
GROUPS: Final = (SESSIONS, LIMITS, RANKINGS)
"""The hash tags. A cluster of three nodes with equal shares of the slots has each of them on another node."""
SCRIPTS: Final = (
    "append",
    "open",
    "change",
    "close",
    "poll",
    "news",
    "sessions",
    "idle",
    "feed",
    "match",
    "ranks",
    "stash",
    "once",
    "lease",
    "consume",
    "refund",
    "run",
)
_ELSEWHERE: Final = {
    "ranks": RANKINGS,
    "stash": LIMITS,
    "lease": LIMITS,
    "consume": LIMITS,
    "refund": LIMITS,
}


class Scripts:
    """The texts of the scripts and the hashes by which Redis knows them."""

    def __init__(self) -> None:
        folder = resources.files("kiai.realtime").joinpath("scripts")
        common = folder.joinpath("common.lua").read_text("utf-8")
        self.texts = {name: common + folder.joinpath(f"{name}.lua").read_text("utf-8") for name in SCRIPTS}
        self.hashes = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in self.texts.items()
        }


class KeyGroup:
    """Keys that scripts use together. All names begin with `prefix`, which each script declares as its key."""

    def __init__(self, prefix: str, pipeline: Pipeline, scripts: Scripts) -> None:
        self._prefix = prefix
        self.pipeline = pipeline
        self._scripts = scripts

    async def call(self, command: str, key: str, *arguments: Any) -> Any:
        """Send a command for a key, named without the prefix, and return its result. Raises StateUnavailable."""
        return await self.pipeline.call((command, self._prefix + key, *arguments))

    async def run(self, script: str, *arguments: Any) -> Any:
        """Run a script and return its result. Raises StateUnavailable."""
        try:
            return await self.pipeline.call(("EVALSHA", self._scripts.hashes[script], 1, self._prefix, *arguments))
        except ScriptMissing:
            await self._name_run()
            # EVAL also stores the script. A new or restarted Redis gets the text with the first calls.
            return await self.pipeline.call(("EVAL", self._scripts.texts[script], 1, self._prefix, *arguments))

    async def _name_run(self) -> None:
        # A restart of Redis loses the scripts, and only scripts log changes. So all that is logged after a restart
        # comes after this name, even if Redis has lost the last changes before it.
        try:
            await self.pipeline.call(("EVALSHA", self._scripts.hashes["run"], 1, self._prefix))
        except ScriptMissing:
            await self.pipeline.call(("EVAL", self._scripts.texts["run"], 1, self._prefix, secrets.token_hex(8)))


class KeyGroups:
    """The groups by name, and the pipelines by which their commands go: one for each node, or one for one Redis."""

    def __init__(self, redis: Redis | RedisCluster, timings: Timings) -> None:
        scripts = Scripts()
        if isinstance(redis, RedisCluster):
            prefixes = {name: f"{PREFIX}{{{name}}}:" for name in GROUPS}
            self._groups = {
                name: KeyGroup(prefix, Pipeline(SlotRoute(redis, prefix), timings), scripts)
                for name, prefix in prefixes.items()
            }
        else:
            self._groups = dict.fromkeys(GROUPS, KeyGroup(PREFIX, Pipeline(ServerRoute(redis), timings), scripts))
        self.sessions = self._groups[SESSIONS]
        self.rankings = self._groups[RANKINGS]
        self.pipelines = tuple({id(group): group.pipeline for group in self._groups.values()}.values())

    async def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in its group and return its result. Raises StateUnavailable."""
        return await self._groups[_ELSEWHERE.get(script, SESSIONS)].run(script, *arguments)
