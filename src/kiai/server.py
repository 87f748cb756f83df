"""The server over the services: its faces as one ASGI application, its metrics and its periodic jobs."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from kiai import logs, session_snapshot
from kiai.chat.filtering import RELOAD_EVERY_S as FILTER_EVERY_S
from kiai.chat.service import COUNTS_EVERY_S
from kiai.clans.upkeep import EVERY_S as CLANS_EVERY_S
from kiai.clans.upkeep import TOTALS_EVERY_S, TotalsCheck
from kiai.errors import KiaiError, Unavailable
from kiai.faces.api import app as api_app
from kiai.faces.api.copies import Copies
from kiai.faces.api.gateway import ApiGateway
from kiai.faces.api.urls import OwnHosts
from kiai.faces.api.v2.events import KEYS_EVERY_S, Events
from kiai.faces.asgi import App
from kiai.faces.client.avatars import AvatarEndpoints
from kiai.faces.front import Front
from kiai.faces.guard import AnswerAtOnce, guarded_protocol
from kiai.faces.guard_limits import GuardLimits
from kiai.faces.health import Health
from kiai.faces.metrics import Aggregation, Metrics
from kiai.faces.plain_http import plain_http
from kiai.faces.quick import QuickFace
from kiai.faces.rate_limit import RateLimit
from kiai.faces.sampling import (
    BOUNDS_MS,
    read_metrics,
    read_periodic_jobs,
    read_pools,
    read_server,
    read_slow_statements,
)
from kiai.faces.site.osu_host import redirecting_osu_host
from kiai.faces.streams import StreamSender
from kiai.faces.wiring import (
    build_bancho,
    build_client,
    build_operations,
    build_polled_metrics,
    build_site,
)
from kiai.jobs import Jobs, Paced, PeriodicJob, job_lease
from kiai.logs import AccessLog, get_logger
from kiai.networks import Network
from kiai.samples import CHECK_EVERY_S as SAMPLES_EVERY_S
from kiai.samples import Sampler
from kiai.scores.announcing import SAY_EVERY_S
from kiai.served_figures import ServerFigures
from kiai.shared_memory import SharedMemory
from kiai.staff.backup_rehearsals import CHECK_EVERY_S as REHEARSALS_EVERY_S
from kiai.staff.backup_runs import CHECK_EVERY_S as BACKUPS_EVERY_S
from kiai.staff.job_runs import WORK_EVERY_S
from kiai.staff.maintenance import DRAIN_EVERY_S
from kiai.staff.map_news import SAY_EVERY_S as MAP_NEWS_EVERY_S
from kiai.staff.shutdown import CHECK_EVERY_S
from kiai.staff.switches import RELOAD_EVERY_S
from kiai.staff.upgrades import CHECK_EVERY_S as UPGRADES_EVERY_S
from kiai.staff.upgrades import UpgradeCheck
from kiai.storage.slow_statements import REPORT_EVERY_S
from kiai.tracing import Tracing, open_tracing
from kiai.uptime import SAMPLE_EVERY_S

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.faces.irc.gateway import IrcGateway
    from kiai.tls.serving import ServedCertificate

MINUTE_S: Final = 60.0
HOUR_S: Final = 3_600.0
CHECKPOINT_EVERY_S: Final = 10.0
FIRST_RANKS_LEASE_S: Final = 0.01
FIRST_RANKS_POLL_S: Final = 0.2
WORKER_NAME_BYTES: Final = 9


class HttpServer:
    """The faces, metrics and periodic jobs of one process. Call `begin` before the first request.

    `stop_server` stops the whole server, as SIGTERM to its first process does; the process sets it. `stops`: whether a
    planned stop has begun. `certificate` is that of https, None while the server speaks plain http.
    """

    def __init__(
        self,
        services: "Services",
        access_log: AccessLog,
        slots: SharedMemory | None = None,
        certificate: "ServedCertificate | None" = None,
    ) -> None:
        settings = services.settings
        trusted: tuple[Network, ...] = tuple(ip_network(cidr) for cidr in settings.trusted_proxy)
        limited = settings.rate_limits
        self._services = services
        self.certificate = certificate
        self._log_level: str = settings.log_level
        self.stop_server: Callable[[], object] = lambda: None
        self.stops = False
        self._worker = services.ids.token(WORKER_NAME_BYTES)
        self.metrics = Metrics(slots)
        self.events = Events(services.realtime, services.accounts, services.api_keys, services.score_lookup)
        self.operations = [*build_operations(services), *self.events.operations()]
        rate_limit = RateLimit("api", settings.api_rate_per_minute, 60.0) if limited else None
        self.streams = StreamSender()
        self.copies = Copies(
            services.database.stamp, mark=services.database.mark, is_untouched=services.database.is_untouched
        )
        gateway = ApiGateway(
            services.api_keys,
            services.limiter,
            services.clock,
            rate_limit,
            services.switches.under_maintenance,
            self.streams,
        )
        self.health = Health(
            self.metrics,
            services.site.uptime.components,
            settings.data,
            trusted,
        )
        self._bancho = build_bancho(services)
        self.irc = _irc_of(services)
        self.site = build_site(services, self.streams)
        self.front = self._front(gateway, access_log, trusted)
        self._build_entry(trusted)
        self.sampler = Sampler(
            services.site.samples,
            f"{socket.gethostname()}:{settings.port}",
            lambda: read_metrics(self.metrics),
            BOUNDS_MS,
            services.clock,
        )
        services.site.server_health.read_pools = lambda: read_pools(self.metrics)
        services.site.server_health.read_slow = lambda: read_slow_statements(self.metrics)
        services.community.job_desk.read_periodic = lambda: read_periodic_jobs(self.metrics)
        self._polled = build_polled_metrics(self.metrics, services)
        self.jobs = Jobs(self._acquire_lease if services.stores.shared else None)
        self.jobs.every(*self._periodic_jobs())
        self.jobs.every(PeriodicJob("live-parts", 0.25, self.site.live.push))
        self.jobs.every(PeriodicJob("left-out-polls", MINUTE_S, access_log.write_left_out))
        self.jobs.run("loop-lag", self.metrics.watch_loop)
        if services.stores.shared:
            self.jobs.run("changes", services.stores.follow_changes)
        if self.irc is not None:
            self.jobs.run("irc", self.irc.hub.run)
            if self.irc.certificate is not None:
                self.jobs.every(PeriodicJob("irc-certificate", MINUTE_S, self.irc.certificate.reload))
        if certificate is not None:
            self._declare_tls_jobs(certificate)
        self.jobs.run("templates", self.site.compile_templates)
        if slots is not None:
            self.jobs.run("shared-figures", self.metrics.publish_to_slot)
        self._declare_metrics()

    def _front(self, gateway: ApiGateway, access_log: AccessLog, trusted: tuple[Network, ...]) -> Front:
        services, settings, certificate = self._services, self._services.settings, self.certificate
        api = api_app.build(
            self.operations,
            gateway,
            self.copies,
            title=settings.title,
            hosts=OwnHosts(settings.domain, settings.site_url),
        )
        client = build_client(services)
        quick: dict[str, QuickFace] = {"bancho": self._bancho.answer_at_once}
        # Only reads of SQLite and of state in memory end without waiting.
        if settings.database is None and not services.stores.shared:
            quick |= {"api": api.answer_at_once, "client": client.answer_at_once}
        return Front(
            bancho=self._bancho,
            api=api,
            avatars=AvatarEndpoints(services.avatars).app(),
            client=client,
            site=self.site.app()
            if settings.is_local
            else redirecting_osu_host(self.site.app(), settings.domain, settings.site_url),
            health=self.health.app(),
            plain=None if certificate is None else plain_http(settings.domain, settings.port, certificate.challenge),
            failure_page=self.site.failures.page,
            ids=services.ids,
            metrics=self.metrics,
            access_log=access_log,
            trusted=trusted,
            is_blocked=services.community.address_blocks.is_blocked,
            blocked_answers={"api": api_app.blocked_answer, "site": self.site.failures.blocked},
            quick=quick,
        )

    def _build_entry(self, trusted: tuple[Network, ...]) -> None:
        """Build what requests pass before the front: the guard, and the tracing of requests if it is on."""
        settings = self._services.settings
        self.tracing: Tracing | None = None
        self.app: App = self.front
        at_once: AnswerAtOnce = self.front.answer_at_once
        if settings.otlp_endpoint is not None:
            self.tracing = open_tracing(settings.otlp_endpoint, settings.otlp_ratio)
            self.app, at_once = self.tracing.app(self.app), self.tracing.at_once(at_once)
            self._services.stores.trace()
        self.protocol = guarded_protocol(
            GuardLimits(
                connections=settings.connections_max,
                connections_per_address=settings.connections_per_address,
                trusted=trusted,
            ),
            at_once,
        )

    # --- periodic work

    def _periodic_jobs(self) -> list[PeriodicJob]:
        """Return all periodic jobs: name, seconds between two runs, function. A `shared` job runs on one worker."""
        services = self._services
        jobs = [
            PeriodicJob("outbox", 0.25, self.deliver, shared=True),
            PeriodicJob("buffers", 0.25, self.write_buffers),
            PeriodicJob("live", 0.25, services.live.follower.follow),
            PeriodicJob("match-timers", 0.25, services.matches.fire_timers, shared=True),
            PeriodicJob("evidence", 0.5, services.community.examiner.work, shared=True),
            PeriodicJob("settling", 0.5, services.reconciler.run, shared=True),
            PeriodicJob("online-count", 1.0, services.live.online.publish_count, shared=True),
            PeriodicJob("first-disks", SAY_EVERY_S, services.first_place_lines.say),
            PeriodicJob("stream-keys", KEYS_EVERY_S, self.events.end_revoked),
            PeriodicJob("map-news", MAP_NEWS_EVERY_S, services.community.map_news.say),
            PeriodicJob("channel-counts", COUNTS_EVERY_S, services.chat.publish_counts),
            PeriodicJob("switches", RELOAD_EVERY_S, self.follow_switches),
            PeriodicJob("stop", CHECK_EVERY_S, self.stop_if_due),
            PeriodicJob("stop-reminders", 1.0, services.community.shutdown.remind, shared=True),
            PeriodicJob("maintenance", DRAIN_EVERY_S, services.community.maintenance.drain, shared=True),
            PeriodicJob("expiry", 5.0, services.presence.expire, shared=True),
            PeriodicJob("figures", 5.0, self._polled.poll),
            PeriodicJob("checkpoint", CHECKPOINT_EVERY_S, services.database.checkpoint),
            PeriodicJob("dead-seats", 30.0, services.matches.clean_up, shared=True),
            PeriodicJob("uptime", SAMPLE_EVERY_S, services.site.uptime.sample, shared=True),
            PeriodicJob("samples", SAMPLES_EVERY_S, self.sampler.run),
            PeriodicJob("old-samples", MINUTE_S, services.site.samples.thin, shared=True),
            PeriodicJob("tally", 30.0, services.live.tally.run, shared=True),
            PeriodicJob("activity", MINUTE_S, services.presence.last_seen.flush),
            PeriodicJob("rank-history", MINUTE_S, services.showcase.history.save_day, shared=True),
            PeriodicJob("old-ranks", MINUTE_S, services.showcase.history.thin, shared=True),
            PeriodicJob("country-totals", 2.0, Paced(services.showcase.countries.refresh).run, shared=True),
            PeriodicJob("clan-totals", TOTALS_EVERY_S, TotalsCheck(services.clans).run, shared=True),
            PeriodicJob("clans", CLANS_EVERY_S, services.community.clan_upkeep.run, shared=True),
            PeriodicJob("old-activity", HOUR_S, services.showcase.activity.delete_older, shared=True),
            PeriodicJob("orphans", 5 * MINUTE_S, services.replays.sweep, shared=True),
            PeriodicJob("highlights", HOUR_S, services.live.tally.clean, shared=True),
            PeriodicJob("old-analyses", MINUTE_S, services.site.replay_analyses.sweep, shared=True),
            PeriodicJob("old-cards", MINUTE_S, services.site.score_cards.sweep, shared=True),
            PeriodicJob("old-lines", HOUR_S, services.journal.delete_older, shared=True),
            PeriodicJob("old-erasures", HOUR_S, services.history.delete_older, shared=True),
            PeriodicJob("word-filter", FILTER_EVERY_S, services.word_filter.reload),
            PeriodicJob("old-mail", HOUR_S, services.mail.delete_older, shared=True),
            PeriodicJob("qualified-sets", 1.0, services.community.nominations.rank_due, shared=True),
            PeriodicJob("timed-sanctions", 1.0, services.community.end_timed, shared=True),
            PeriodicJob("old-reports", HOUR_S, services.community.reports.delete_older, shared=True),
            PeriodicJob("old-answers", HOUR_S, services.submissions.delete_old_charts, shared=True),
            PeriodicJob("leftovers", HOUR_S, services.files.sweep, shared=True),
            PeriodicJob("old-tokens", HOUR_S, services.site.entry.delete_expired, shared=True),
            PeriodicJob("old-web-sessions", HOUR_S, services.site.web_sessions.delete_expired, shared=True),
            PeriodicJob("exports", 1.0, services.site.exports.work, shared=True),
            PeriodicJob("old-exports", 5 * MINUTE_S, services.site.exports.sweep, shared=True),
            PeriodicJob("deletions", 10.0, services.site.deletion.run, shared=True),
            PeriodicJob("webhooks", 0.5, services.community.webhooks.deliver),
            PeriodicJob("webhook-bounds", 5.0, services.community.webhooks.bound, shared=True),
            PeriodicJob("webhook-figures", 5.0, services.community.webhooks.count),
            PeriodicJob("old-uploads", HOUR_S, services.community.map_imports.sweep, shared=True),
            PeriodicJob("old-avatars", HOUR_S, services.community.picture_sweep.run, shared=True),
        ]
        worker = services.community.job_worker
        jobs += [
            PeriodicJob(f"{kind}-runs", WORK_EVERY_S, functools.partial(worker.work, kind), shared=True)
            for kind in services.community.job_desk.kinds
        ]
        if services.settings.backup_every:
            jobs.append(
                PeriodicJob("due-backups", BACKUPS_EVERY_S, services.community.backup_runs.start_due, shared=True)
            )
            jobs.append(
                PeriodicJob("due-rehearsals", REHEARSALS_EVERY_S, services.community.rehearsals.start_due, shared=True)
            )
        if services.settings.upgrade_url is not None:
            check = UpgradeCheck(services.settings.upgrade_url, services.settings.data, services.clock)
            jobs.append(PeriodicJob("upgrade-check", UPGRADES_EVERY_S, check.run_due, shared=True))
        if services.site.entry.mailing.is_on:
            jobs.append(PeriodicJob("mail", 1.0, services.site.entry.mailing.deliver, shared=True))
        if services.refreshing is not None:
            jobs += [
                PeriodicJob("refresh-sets", MINUTE_S, services.refreshing.refresh_due, shared=True),
                PeriodicJob("enlist-sets", 10 * MINUTE_S, services.refreshing.schedule, shared=True),
            ]
        if services.stores.shared:
            jobs.append(PeriodicJob("channels", 5.0, services.channels.reload))
        if services.database.slow.is_on:
            report = functools.partial(services.database.slow.report, services.database.explain)
            jobs.append(PeriodicJob("slow-statements", REPORT_EVERY_S, report))
        return jobs

    def _declare_tls_jobs(self, certificate: "ServedCertificate") -> None:
        from kiai.tls.renewal import CHECK_EVERY_S as RENEWAL_EVERY_S
        from kiai.tls.renewal import Renewal
        from kiai.tls.serving import RELOAD_EVERY_S as CERTIFICATE_EVERY_S

        renewal = Renewal(certificate.plan, certificate.folder, self._services.clock, certificate.sharing)
        self.jobs.every(
            PeriodicJob("certificate", CERTIFICATE_EVERY_S, certificate.follow),
            PeriodicJob("certificate-renewal", RENEWAL_EVERY_S, renewal.run, shared=True),
        )

    async def _acquire_lease(self, job: str, for_s: float) -> bool:
        """Acquire the lease on a job for `for_s` seconds. Return False if another worker has it, or Redis fails."""
        try:
            return await self._services.realtime.lease(f"job:{job}", self._worker, for_s)
        except Unavailable:
            return False

    async def deliver(self) -> None:
        """Deliver the rows of the outbox. A job calls this on one worker at a time.

        A Redis that was restarted empty gets the ranks first. Changes that are committed while the ranks are read stay
        in the outbox until the lists are complete.
        """
        if await self._services.stores.is_state_empty():
            await self._services.ranks.rebuild()
        await self._services.outbox.deliver()

    async def follow_switches(self) -> None:
        """Read what staff has switched on and off, and the blocked addresses. A job calls this on every worker."""
        await self._services.switches.reload()
        await self._services.community.address_blocks.follow()
        self.streams.end_refused(
            self._services.community.address_blocks.is_blocked,
            maintenance=self._services.switches.under_maintenance(),
        )
        await self._services.community.live_settings.follow()
        await self._services.community.game_texts.follow()
        level = self._services.community.debug_log.level()
        if level != self._log_level:
            self._log_level = level
            logs.configure(self._services.settings.log, level)

    async def stop_if_due(self) -> None:
        """Stop the server at the time that a developer has planned. A job calls this on every worker."""
        if self._services.community.shutdown.is_due() and not self.stops:
            self.stops = True
            get_logger("serve").warning("planned stop")
            self.stop_server()

    async def write_buffers(self) -> None:
        """Write the rows that were buffered in memory, e.g. logins and chat lines. A job calls this."""
        # Every worker has buffers of its own, so this job is not shared. A shutdown calls it, too.
        services = self._services
        try:
            await services.logins.flush()
        finally:  # the others are written even if one fails
            try:
                await services.journal.flush()
            finally:
                try:
                    await services.match_history.flush()
                finally:
                    try:
                        await services.submissions.flush()
                    finally:
                        try:
                            await services.presence.last_seen.flush_offline()
                        finally:
                            await services.site.entry.flush()

    # --- metrics

    async def figures(self) -> ServerFigures:
        """Return the figures of all workers of this server, for `kiai top`."""
        return read_server(self.metrics, await self._services.site.uptime.components.states())

    def _declare_metrics(self) -> None:
        services, metrics, bancho, jobs = self._services, self.metrics, self._bancho, self.jobs
        ledger, cut = self.protocol.ledger, self.front.cut
        metrics.gauge("connections", "Open connections.", lambda: ledger.connections)
        metrics.counter("guard_refused", "Requests refused by the guard.", "reason", lambda: ledger.refused)
        irc = self.irc
        metrics.gauge("irc_connections", "Open IRC connections.", lambda: 0 if irc is None else irc.connections)
        certificate = self.certificate
        metrics.gauge(
            "tls_not_after_timestamp_seconds",
            "End of the certificate for https.",
            lambda: None if certificate is None else certificate.not_after_s,
            Aggregation.MIN,
        )
        metrics.gauge("event_streams", "Open streams of /v2/events.", lambda: self.events.clients)
        metrics.gauge("page_streams", "Open streams of pages.", lambda: self.site.live.streams)
        metrics.gauge("pp_waiting", "Waiting calculations.", lambda: services.performance.waiting)
        metrics.pools(services.work_pools)
        metrics.stores(services.stores.timings)
        metrics.gauge(
            "replica_lag_seconds",
            "Time that the last read waited for the replica, or since no read could use it.",
            services.stores.replica_lag_s,
            Aggregation.MAX,
        )
        slow = services.database.slow
        metrics.counter("slow_statements", "Slow statements of the database.", "statement", lambda: slow.counts)
        metrics.gauges(
            "slow_statement_seconds",
            "The statement's slowest run of the last five minutes, if it was slow.",
            "statement",
            slow.slowest,
            Aggregation.MAX,
        )
        metrics.counter("logins", "Logins of game clients.", "outcome", lambda: bancho.login.outcomes)
        metrics.counter("polls", "Polls of game clients, with a shared state.", "by", services.stores.polls)
        metrics.counter("packets_refused", "Packets that had no effect.", "reason", lambda: bancho.refused)
        metrics.counter("submissions", "Submitted plays.", "result", lambda: services.submissions.outcomes)
        metrics.counter("integrity_flags", "Flags added for staff.", "kind", lambda: services.flags.raised)
        metrics.counter(
            "dropped",
            "Rows dropped because their buffer was full.",
            "what",
            lambda: {
                "logins": services.logins.dropped,
                "lines": services.journal.dropped,
                "events": services.site.entry.history.dropped,
            },
        )
        metrics.counter("mails", "Mails to players.", "outcome", lambda: services.site.entry.mailing.outcomes)
        webhooks = services.community.webhooks
        metrics.counter("webhook_tries", "Messages to webhooks.", "outcome", lambda: webhooks.outcomes)
        metrics.gauge("webhooks_waiting", "Waiting messages.", lambda: webhooks.waiting, Aggregation.MAX)
        metrics.gauge("webhooks_parked", "Webhooks that are not tried.", lambda: webhooks.parked, Aggregation.MAX)
        copies = self.copies
        metrics.counter(
            "api_copies",
            "Answers of the API from copies, and copies made and dropped.",
            "outcome",
            lambda: copies.outcomes,
        )
        metrics.gauge("api_copies_bytes", "Memory of the copies.", lambda: copies.bytes)
        metrics.counter("http_cut", "Incomplete answers.", "by", lambda: cut)
        metrics.counter("job_failures", "Failed runs of periodic jobs.", "job", lambda: jobs.failures)
        metrics.gauges(
            "job_last_success_timestamp_seconds",
            "Time of the job's last successful run.",
            "job",
            lambda: jobs.done_at,
            Aggregation.LATEST,
        )

    # --- start and stop

    async def begin(self) -> None:
        """Load what the server answers from memory: ranks, channels, and the sessions from before a restart."""
        services = self._services
        self.sampler.begin()
        await self.follow_switches()
        if services.stores.shared:
            await self._load_first_ranks()
        else:
            await services.ranks.rebuild()
        await services.channels.reload()
        await services.word_filter.reload()
        await self._restore_sessions()
        await services.live.follower.follow()
        await services.live.tally.prepare()
        # Without it, metrics and the sample of the first minute would lack the players online. A figure that cannot be
        # read is no reason not to start: the job `figures` reports it.
        with contextlib.suppress(KiaiError):
            await self._polled.poll()

    async def _load_first_ranks(self) -> None:
        """Load the ranks into an empty Redis, or wait for the worker that does."""
        services = self._services
        while await services.stores.is_state_empty():
            # Raises with the reason when Redis accepts no writes; `job_lease` would only wait.
            await services.realtime.lease("job:state", self._worker, FIRST_RANKS_LEASE_S)
            # The lease of the outbox: a delivery before the ranks are complete would update lists that do not exist.
            async with job_lease(self._acquire_lease, "outbox", FIRST_RANKS_LEASE_S) as mine:
                if mine and await services.stores.is_state_empty():
                    await services.ranks.rebuild()
            if not mine:
                await asyncio.sleep(FIRST_RANKS_POLL_S)

    async def _restore_sessions(self) -> None:
        """Restore the sessions from before the restart of an embedded server.

        Sessions of accounts that were banned or changed meanwhile, e.g. by a command, end.
        """
        services = self._services
        if session_snapshot.restore(services.realtime, services.settings.data):
            user_ids = [str(user_id) for user_id in await services.realtime.online_ids()]
            await services.presence.on_privileges_change(user_ids)

    async def save_sessions(self) -> None:
        """Write the buffered rows and the figures of this minute, and save the sessions of an embedded server."""
        await self.write_buffers()
        await self._services.presence.last_seen.flush()
        session_snapshot.save(self._services.realtime, self._services.settings.data)
        await self.sampler.finish()


def _irc_of(services: "Services") -> "IrcGateway | None":
    """Build the IRC gateway, or return None where IRC is off. Raises Refused for an unreadable certificate."""
    if not services.settings.has_irc:
        return None
    # PERF: imported only when needed, because it takes 0.5 MB.
    from kiai.faces.irc_wiring import build_irc

    return build_irc(services)
