"""The login by IRC: PASS, NICK and USER, then the checks, the session and the welcome."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from kiai.accounts import Relationships, User
from kiai.accounts.irc_passwords import IrcPasswords
from kiai.accounts.model import Privacy
from kiai.accounts.visibility import is_public
from kiai.clock import Clock
from kiai.errors import KiaiError, NotAuthenticated, Unavailable
from kiai.faces.irc.channels import ChannelCommands
from kiai.faces.irc.connection import Connection
from kiai.faces.irc.hub import Hub
from kiai.faces.irc.names import nick_of
from kiai.ids import Ids
from kiai.osu.names import safe_name
from kiai.osu.privileges import STAFF, VERIFIED, effective
from kiai.presence import Presence
from kiai.presence.service import AccountChanged
from kiai.realtime.port import Session, Status, TooMany
from kiai.realtime.rate_limiter import RateLimiter

WRONG_PASSWORDS: Final = 5
WRONG_PASSWORDS_S: Final = 60.0
NAME_MAX: Final = 32
BAD_PASSWORD: Final = "Bad authentication token."  # noqa: S105 (the text that tools look for)


class WelcomeTexts(msgspec.Struct, frozen=True):
    """The operator's texts. `version` is that of the server."""

    title: str
    welcome: str
    version: str


class IrcRefused(KiaiError):
    """The login is refused with this numeric and text."""

    def __init__(self, numeric: str, text: str) -> None:
        super().__init__(text)
        self.numeric = numeric


class IrcLogin:
    """Handles the commands before the end of a login. `outcomes` counts logins by result, for the metrics."""

    def __init__(
        self,
        texts: Callable[[], WelcomeTexts],
        hub: Hub,
        channels: ChannelCommands,
        *,
        passwords: IrcPasswords,
        relationships: Relationships,
        presence: Presence,
        limiter: RateLimiter,
        clock: Clock,
        ids: Ids,
        limited: bool,
        is_chat_bot: Callable[[int], Awaitable[bool]],
        under_maintenance: Callable[[], bool],
    ) -> None:
        self._texts = texts
        self._hub = hub
        self._channels = channels
        self._passwords = passwords
        self._relationships = relationships
        self._presence = presence
        self._limiter = limiter
        self._clock = clock
        self._ids = ids
        self._limited = limited
        self._is_chat_bot = is_chat_bot
        self._under_maintenance = under_maintenance
        self.outcomes: dict[str, int] = {}

    async def handle(self, connection: Connection, command: str, params: tuple[str, ...]) -> None:
        """Handle one command of a connection that is not logged in."""
        match command:
            case "CAP":
                await self.handle_capabilities(connection, params)
            case "PASS" | "NICK" | "USER" if not params or not params[0]:
                connection.reply("461", command, text="Not enough parameters")
            case "PASS":
                connection.password = params[0]
            case "NICK":
                connection.nick = params[0].split(" ")[0][:NAME_MAX]
            case "USER":
                connection.user_given = True
            case "QUIT":
                connection.close("Closing link")
            case _:
                connection.reply("451", text="You have not registered")
        if connection.nick and connection.user_given and not connection.closing:
            await self._log_in(connection)

    async def handle_capabilities(self, connection: Connection, params: tuple[str, ...]) -> None:
        """CAP."""
        # The server has no capabilities. The login does not wait for CAP END, so that a client without it gets in, too.
        asked = params[0].upper() if params else ""
        if asked in ("LS", "LIST"):
            connection.send(f":{connection.names.server} CAP * {asked} :")
        elif asked == "REQ":
            connection.send(f":{connection.names.server} CAP * NAK :{params[1] if len(params) > 1 else ''}")

    async def _log_in(self, connection: Connection) -> None:
        try:
            user = await self._authenticate(connection)
            await self._open(connection, user)
        except IrcRefused as refused:
            self._count(refused.numeric)
            connection.reply(refused.numeric, text=str(refused))
            connection.close()
        except AccountChanged:
            self._count("changed")
            connection.close("Your account has changed. Please connect again.")
        except (Unavailable, TooMany):  # TooMany: as many sessions as the server admits
            self._count("unavailable")
            connection.close("The server is busy. Please try again in a moment.")
        else:
            self._count("ok")
            self.welcome(connection)
            await self._channels.join_refereed(connection)

    def _count(self, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    async def _authenticate(self, connection: Connection) -> User:
        name, password = connection.nick, connection.password
        # Read only: a right password costs nothing, so that all clients of an address can come back at once.
        if password is None or not await self._may_guess(connection.network, name, cost=0):
            raise IrcRefused("464", BAD_PASSWORD)
        try:
            user = await self._passwords.holder(name, password)
        except NotAuthenticated:
            await self._may_guess(connection.network, name, cost=1)
            raise IrcRefused("464", BAD_PASSWORD) from None
        if not is_public(user.priv) or not user.priv & VERIFIED:
            raise IrcRefused("465", "You are banned from this server")
        if self._under_maintenance() and not effective(user.priv) & STAFF:
            raise IrcRefused("465", "The server is under maintenance")
        return user

    async def _may_guess(self, network: str, name: str, *, cost: int) -> bool:
        """Consume wrong passwords of an address and of a name. Return whether both have some left."""
        if not self._limited:
            return True
        by_address = await self._limiter.consume(
            f"irc-wrong:{network}", limit=WRONG_PASSWORDS, period_s=WRONG_PASSWORDS_S, cost=cost
        )
        by_name = await self._limiter.consume(
            f"irc-wrong-for:{safe_name(name)}", limit=WRONG_PASSWORDS, period_s=WRONG_PASSWORDS_S, cost=cost
        )
        return by_address.remaining > 0 and by_name.remaining > 0

    async def _open(self, connection: Connection, user: User) -> None:
        friends, blocked = await self._relationships.relations_of(user.id)
        session = Session(
            token=self._ids.session_token(),
            user_id=user.id,
            name=user.name,
            priv=user.priv,
            country=user.country,
            login_time_ms=self._clock.now_ms(),
            status=Status(mode=user.preferred_mode),
            irc=True,
            client="irc",
            friends=friends,
            blocked=blocked,
            friends_only_dms=bool(user.friends_only_dms) or bool(user.privacy & Privacy.FRIENDS_ONLY),
            hides_online=bool(user.privacy & Privacy.HIDE_ONLINE),
            silenced_until_ms=user.silenced_until_ms,
        )
        password = connection.password or ""
        connection.nick = nick_of(user.name)
        connection.password = None
        connection.chat_bot = await self._is_chat_bot(user.id)
        # Before the session exists, so that no line to it is missed.
        self._hub.add(connection, session)

        async def reread() -> User | None:
            with contextlib.suppress(NotAuthenticated):
                return await self._passwords.holder(user.name, password)
            return None

        session = await self._presence.open_session(session, reread=reread)
        connection.session = session
        connection.session_read_at = connection.now()

    def welcome(self, connection: Connection) -> None:
        """Send 001-004 and the message of the day."""
        names, texts = connection.names, self._texts()
        # node-irc reads its own mask from the last word of 001.
        connection.reply("001", text=f"Welcome to {texts.title}, {names.mask(connection.nick)}")
        connection.reply("002", text=f"Your host is {names.server}, running kiai {texts.version}")
        connection.reply("003", text="This server was created for osu! players")
        connection.reply("004", names.server, f"kiai-{texts.version}", "o", "o")
        self.message_of_the_day(connection)

    def message_of_the_day(self, connection: Connection) -> None:
        """Send 375, 372 and 376."""
        names, texts = connection.names, self._texts()
        connection.reply("375", text=f"- {names.server} Message of the day -")
        for line in (texts.title, *texts.welcome.split("\n")):
            if line:
                connection.reply("372", text=f"- {line}")
        connection.reply("376", text="End of /MOTD command.")
