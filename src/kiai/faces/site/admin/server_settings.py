"""`/admin/settings`: the settings in force, and the acts on the whole server, such as maintenance."""

from typing import Final

import msgspec

from kiai.faces.site.admin.acts import DURATION, REASON, Act, ActForms, Field, ShownForms, Values
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.page import Page, Response, SiteRequest, View
from kiai.osu.durations import parse_duration
from kiai.staff import Actor
from kiai.staff.audit_reading import AuditReading
from kiai.staff.debug_log import PERMISSION as DEBUG
from kiai.staff.debug_log import DebugLog
from kiai.staff.game_texts import NAMES, TEXT_MAX, GameTexts
from kiai.staff.live_settings import PERMISSION, RELOADED, LiveSettings
from kiai.staff.maintenance import PERMISSION as MAINTENANCE
from kiai.staff.maintenance import Maintenance
from kiai.staff.outbox_desk import PERMISSION as RETRIES
from kiai.staff.outbox_desk import OutboxDesk
from kiai.staff.registration_switch import FOLLOW, WORDS, RegistrationSwitch
from kiai.staff.registration_switch import PERMISSION as REGISTRATION
from kiai.staff.shutdown import PERMISSION as SHUTDOWN
from kiai.staff.shutdown import Shutdown
from kiai.staff.switches import Switches

PATH: Final = "/admin/settings"
DELAY: Final = msgspec.structs.replace(DURATION, label="In", help="15s to 1d.", value="5m")
STATE: Final = Field(
    "state",
    "Who can register",
    "choice",
    options=(("off", "nobody"), ("invite", "people with an invite code, on the website"), ("on", "everybody")),
)
WHAT: Final = {"welcome": "the welcome", "menu_icon": "the picture of the menu", "menu_link": "the link of the menu"}
"""The texts of the game, by the settings that they override."""
TEXT: Final = Field("text", "Text", "textarea", required=False, most=TEXT_MAX, help="Empty: the game shows none.")
URL: Final = msgspec.structs.replace(TEXT, label="URL", kind="text")
STOP_REASON: Final = msgspec.structs.replace(REASON, help="All players and the audit log get it.")


class ServerAsTarget(msgspec.Struct, frozen=True):
    """The whole server, for the audit log and for questions. `parked` is the number of parked deliveries."""

    id: int = 0
    name: str = "the server"
    parked: int = 0


class ServerSettingsPages:
    """The page of the settings."""

    def __init__(
        self,
        audit: AuditReading,
        settings: LiveSettings,
        switches: Switches,
        maintenance: Maintenance,
        registration: RegistrationSwitch,
        game_texts: GameTexts,
        debug_log: DebugLog,
        shutdown: Shutdown,
        outbox: OutboxDesk,
    ) -> None:
        self._settings = settings
        self._switches = switches
        self._maintenance = maintenance
        self._registration = registration
        self._game_texts = game_texts
        self._debug_log = debug_log
        self._shutdown = shutdown
        self._outbox = outbox
        self._forms = ActForms(
            PATH,
            self._acts(),
            audit,
            kind="server",
            load=self._load,
            show=self._view,
            path_of=lambda server: PATH,
            possible=self._possible,
        )

    def pages(self) -> list[Page]:
        """Return the page and the forms of its acts."""
        return [staff_page(PATH, self._show, PERMISSION), *self._forms.pages()]

    async def _show(self, request: SiteRequest) -> Response:
        server = await self._load(request)
        return await self._view(request, server, await self._forms.shown(request, server))

    async def _load(self, request: SiteRequest) -> ServerAsTarget:
        await self._switches.reload()  # another worker may have switched
        await self._game_texts.follow()
        return ServerAsTarget(parked=await self._outbox.parked(staff_actor(request)))

    async def _view(self, request: SiteRequest, server: ServerAsTarget, forms: ShownForms) -> View:
        now = self._switches.now
        values = {
            "settings": await self._settings.in_force(staff_actor(request)),
            "reloaded": ", ".join(RELOADED),
            "under_maintenance": self._switches.under_maintenance(),
            "maintenance_by_setting": self._switches.maintenance_by_setting,
            "maintenance": now("maintenance"),
            "registration_words": WORDS[self._switches.registration()],
            "switched_registration": self._switches.switched_registration(),
            "registration": now("registration"),
            "debug_until_ms": now("debug").ends_at_ms if self._switches.is_on("debug") else 0,
            "stop": now("stop"),
            "parked": server.parked,
            "forms": forms,
        }
        return admin_view(request, "settings.html", "Settings", values)

    def _possible(self, server: ServerAsTarget, now_ms: int) -> frozenset[str]:
        names = {"reload", "registration", "debug-off" if self._switches.is_on("debug") else "debug-on"}
        if self._switches.now("registration").value:
            names.add("follow-setting")
        names |= {_set_name(name) for name in NAMES}
        names |= {_withdraw_name(name) for name in self._game_texts.written}
        if server.parked:
            names.add("retry")
        names.add("cancel-stop" if self._switches.now("stop").value > now_ms else "stop")
        if not self._switches.maintenance_by_setting:
            names.add("end-maintenance" if self._switches.under_maintenance() else "maintenance")
        return frozenset(names)

    # --- acts

    def _acts(self) -> list[Act[ServerAsTarget]]:
        return [
            Act("maintenance", "Begin maintenance", MAINTENANCE, "The server is under maintenance.",
                "Only staff can use the server. Everybody else is notified and logged out, at once or after the match.",
                self._begin_maintenance, undo="end-maintenance", danger=True),
            Act("end-maintenance", "End maintenance", MAINTENANCE, "Maintenance has ended.",
                "Everybody can use the server again.", self._end_maintenance, undo="maintenance"),
            Act("registration", "Change registration", REGISTRATION, "Registration is changed.",
                "The forms in the game and on the website follow within a second. kiai users add always works.",
                self._switch_registration, (STATE, REASON), "follow-setting",
                present=lambda server: {"state": self._switches.registration()}),
            Act("follow-setting", "Let the setting decide who registers", REGISTRATION, "Registration is as set.",
                "The setting registration decides again who can register.", self._follow_setting),
            *(act for name in NAMES for act in self._text_acts(name)),
            Act("reload", "Read settings again", PERMISSION, "The settings were read again.",
                f"The server reads kiai.toml and applies {', '.join(RELOADED)}. Other changes need a restart.",
                self._reload),
            Act("retry", "Retry failed deliveries", RETRIES, "The failed deliveries are tried again.",
                "Deliveries inside the server that were given up, e.g. of ranks and mails, are tried again.",
                self._retry),
            Act("debug-on", "Log debug lines", DEBUG, "All workers log debug lines for an hour.",
                "The log gets much longer for an hour.", self._debug_on, undo="debug-off"),
            Act("debug-off", "Stop debug lines", DEBUG, "Debug lines are off.",
                "The log has the level of the settings again.", self._debug_off, undo="debug-on"),
            Act("stop", "Plan a stop", SHUTDOWN, "The stop is planned.",
                "All players are notified. At that time the server stops with all its workers; it starts again only if "
                "something outside starts it.", self._plan_stop, (DELAY, STOP_REASON), "cancel-stop", danger=True),
            Act("cancel-stop", "Cancel the stop", SHUTDOWN, "The stop is cancelled.",
                "All players get a message that the server does not stop.", self._cancel_stop),
        ]  # fmt: skip

    async def _begin_maintenance(self, actor: Actor, server: ServerAsTarget, values: Values) -> None:
        await self._maintenance.switch(actor, on=True, reason=values["reason"])

    async def _end_maintenance(self, actor: Actor, server: ServerAsTarget, values: Values) -> None:
        await self._maintenance.switch(actor, on=False, reason=values["reason"])

    async def _switch_registration(self, actor: Actor, server: ServerAsTarget, values: Values) -> None:
        await self._registration.switch(actor, values["state"], reason=values["reason"])

    async def _follow_setting(self, actor: Actor, server: ServerAsTarget, values: Values) -> None:
        await self._registration.switch(actor, FOLLOW, reason=values["reason"])

    def _text_acts(self, name: str) -> list[Act[ServerAsTarget]]:
        """Return the acts that write a text of the game, and withdraw it."""
        what = WHAT[name]

        async def write(actor: Actor, server: ServerAsTarget, values: Values) -> None:
            await self._game_texts.set(actor, name, values["text"], reason=values["reason"])

        async def withdraw(actor: Actor, server: ServerAsTarget, values: Values) -> None:
            await self._game_texts.withdraw(actor, name, reason=values["reason"])

        return [
            Act(_set_name(name), f"Change {what}", PERMISSION, f"{what.capitalize()} is changed.",
                f"It applies to the next logins in the game, in place of the setting {name}.", write,
                (TEXT if name == "welcome" else URL, REASON), _withdraw_name(name),
                present=lambda server: {"text": getattr(self._settings.current, name) or ""}),
            Act(_withdraw_name(name), f"Withdraw {what}", PERMISSION, f"{what.capitalize()} is withdrawn.",
                f"The setting {name} applies to the next logins in the game.", withdraw, undo=_set_name(name)),
        ]  # fmt: skip

    async def _reload(self, actor: Actor, server: ServerAsTarget, values: Values) -> None:
        await self._settings.reload(actor, values["reason"])

    async def _retry(self, actor: Actor, server: ServerAsTarget, values: Values) -> None:
        await self._outbox.retry(actor, values["reason"])

    async def _debug_on(self, actor: Actor, server: ServerAsTarget, values: Values) -> None:
        await self._debug_log.switch(actor, on=True, reason=values["reason"])

    async def _debug_off(self, actor: Actor, server: ServerAsTarget, values: Values) -> None:
        await self._debug_log.switch(actor, on=False, reason=values["reason"])

    async def _plan_stop(self, actor: Actor, server: ServerAsTarget, values: Values) -> None:
        await self._shutdown.plan(actor, parse_duration(values["duration"]), values["reason"])

    async def _cancel_stop(self, actor: Actor, server: ServerAsTarget, values: Values) -> None:
        await self._shutdown.cancel(actor, values["reason"])


def _set_name(setting: str) -> str:
    return setting.replace("_", "-")


def _withdraw_name(setting: str) -> str:
    return f"withdraw-{_set_name(setting)}"
