"""Login (docs/spec/sessions.md): checks, then the session, then the reply.

Two orders matter. The password is checked before an old session is ended; otherwise anybody could end the session of
another player. The session follows its topics before the list of players is read; otherwise a player who comes online
in between would be missing from the list.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

import msgspec

from kiai.accounts import Credentials, LoginRecord, Logins, Relationships, TooManyGuesses, User
from kiai.accounts.geography import UNKNOWN, country_of
from kiai.accounts.model import Privacy
from kiai.accounts.visibility import is_public
from kiai.chat.channels import Channel
from kiai.chat.mail import Mail
from kiai.chat.model import split_lines, time_of_line
from kiai.chat.service import Chat
from kiai.clock import Clock
from kiai.entry import Origin
from kiai.entry.history import SecurityHistory
from kiai.errors import NotAuthenticated, Unavailable
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import presence as presence_packets
from kiai.faces.bancho.login_request import BadLogin, LoginRequest, read_login
from kiai.ids import Ids
from kiai.logs import Outage
from kiai.networks import is_loopback, network_of
from kiai.osu.privileges import STAFF, VERIFIED, effective, may
from kiai.own_account import Deletion
from kiai.presence.service import AccountChanged, AlreadyOnline, Presence
from kiai.realtime.port import BOT_ID, CROWDED_ABOVE, Realtime, Session, Status
from kiai.realtime.rate_limiter import RateLimiter
from kiai.staff.faq import WELCOME, Faq
from kiai.staff.hardware import ClientDevice, HardwareWatch
from kiai.staff.onboarding import Onboarding, sanctioned
from kiai.staff.ownership import Ownership
from kiai.staff.restrictions import frozen_text

PROTOCOL: Final = 19
TOKEN_CHARACTERS: Final = 36  # the length of a session's token; the words of refusals are shorter
LOG_INS_PER_MINUTE: Final = 30  # per network, right or wrong; `credentials.py` limits wrong passwords
LOGIN_TRIES: Final = 3  # of accounts that change during the login
MAIL_MAX: Final = 200
GREETING_MAX: Final = 10  # lines
BUSY: Final = "The server is busy. Please try again in a moment."


class ClientLocation(msgspec.Struct, frozen=True):
    """The origin of a request. `latitude` and `longitude` are in degrees, 0 if only the address is known."""

    address: str
    latitude: float = 0.0
    longitude: float = 0.0
    country: str = ""


class LoginTexts(msgspec.Struct, frozen=True):
    """The operator's settings for logins. `oldest_build` is yyyymmdd; `build_age_days` 0 accepts any age."""

    title: str
    bot_name: str
    welcome: str
    menu_icon: str
    menu_link: str
    oldest_build: int
    build_age_days: int


class LoginReply(msgspec.Struct, frozen=True):
    """The answer to a login: the `cho-token` header and the body. A refusal has a word in place of the token."""

    token: str
    body: bytes


class Login:
    """Handles requests without a token. `outcomes` counts logins by result, for the metrics."""

    def __init__(
        self,
        texts: Callable[[], LoginTexts],
        *,
        credentials: Credentials,
        limiter: RateLimiter,
        relationships: Relationships,
        logins: Logins,
        history: SecurityHistory,
        presence: Presence,
        chat: Chat,
        mail: Mail,
        realtime: Realtime,
        clock: Clock,
        ids: Ids,
        onboarding: Onboarding,
        hardware: HardwareWatch,
        deletion: Deletion,
        ownership: Ownership,
        faq: Faq,
        under_maintenance: Callable[[], bool],
        limited: bool,
    ) -> None:
        self._texts = texts
        self._credentials = credentials
        self._limiter = limiter
        self._relationships = relationships
        self._logins = logins
        self._history = history
        self._presence = presence
        self._chat = chat
        self._mail = mail
        self._realtime = realtime
        self._clock = clock
        self._ids = ids
        self._onboarding = onboarding
        self._hardware = hardware
        self._deletion = deletion
        self._ownership = ownership
        self._faq = faq
        self._under_maintenance = under_maintenance
        self._limited = limited
        self._bot = presence_packets.bot(texts().bot_name)
        self.outcomes: dict[str, int] = {}
        self._outage = Outage("login", "login unavailable", "login available again")

    async def log_in(self, body: bytes, location: ClientLocation) -> LoginReply:
        """Answer a login. A refusal is an answer too; nothing is raised."""
        answer = await self._reply(body, location)
        outcome = "ok" if len(answer.token) == TOKEN_CHARACTERS else answer.token
        if outcome == "ok":
            self._outage.worked()
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        return answer

    async def _reply(self, body: bytes, location: ClientLocation) -> LoginReply:
        try:
            return await self._log_in(read_login(body), location)
        except BadLogin as bad:
            return _refusal(-1, bad.word, bad.text)
        except AlreadyOnline:
            return _refusal(-1, "user-already-logged-in", "User already logged in.")
        except NotAuthenticated:
            return _refusal(-1, "incorrect-credentials", "Wrong name or password.")
        except TooManyGuesses:
            return _refusal(-5, "login-failed", BUSY)
        except Unavailable as error:
            self._outage.failed(error)
            return _refusal(-5, "login-failed", BUSY)

    async def _log_in(self, request: LoginRequest, location: ClientLocation) -> LoginReply:
        for attempt in range(LOGIN_TRIES):
            try:
                return await self._try(request, location, again=attempt > 0)
            except AccountChanged:
                continue
        raise Unavailable("login", "the account changed repeatedly during the login")

    async def _try(self, request: LoginRequest, location: ClientLocation, *, again: bool) -> LoginReply:
        """Log in once. Raises AccountChanged; the next try is `again`, and not recorded as another login."""
        texts = self._texts()
        if request.build < self._oldest_build():
            return LoginReply("client-too-old", packets.version_update() + packets.login_reply(-2))
        # Before all checks below: their answers say something about the account, which only its owner may learn.
        user = await self._authenticate(request, location)
        if user.banned_at_ms is not None:
            return LoginReply("login-failed", packets.login_reply(-3))
        if self._under_maintenance() and not effective(user.priv) & STAFF:
            return _refusal(-5, "login-failed", f"{texts.title} is under maintenance. Please come back later.")
        if request.tournament and not may(user.priv, "client.tournament"):
            return _refusal(-6, "login-failed", "Tournament clients are for supporters and tournament staff.")
        await self._presence.end_replaced_sessions(user.id, tournament=request.tournament)
        if not again:
            self._record_login(request, user, location)
        priv, first = user.priv, False
        device = ClientDevice(request.adapters_md5, request.uninstall_md5, request.disk_md5, request.wine)
        matches = await self._hardware.matches(user.id, device)
        # The first login verifies an account. One from the hardware of a restricted or banned account does not.
        if not priv & VERIFIED:
            if sanctioned(matches):
                await self._onboarding.record_hardware_match(user.id, matches)
                return _refusal(-1, "contact-staff", "Please contact staff directly to create an account.")
            priv, first = await self._onboarding.verify(user.id), True
        else:
            await self._hardware.record(user.id, matches)
        priv = await self._ownership.make_first_player_owner(user.id, priv)
        if user.deletes_at_ms is not None:  # the player came back in time
            await self._deletion.cancel(user.id)
        # A player who hides the country has one, and is shown without one.
        has_country = user.country != UNKNOWN or user.home_country is not None
        country = user.country if has_country else await self._set_initial_country(user, location)
        if request.friends_only_dms != bool(user.friends_only_dms):
            await self._onboarding.set_friends_only_dms(user.id, request.friends_only_dms)
        session = await self._open_session(request, user, priv, country, location)
        body = await self._reply_body(session, first=first)
        if user.freeze_until_ms:
            body += self._from_bot(session, frozen_text(user.freeze_until_ms))
        return LoginReply(session.token, body)

    def _oldest_build(self) -> int:
        oldest = self._texts().oldest_build
        if self._texts().build_age_days:
            today = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).date()
            by_age: date = today - timedelta(days=self._texts().build_age_days)
            oldest = max(oldest, int(by_age.strftime("%Y%m%d")))
        return oldest

    async def _authenticate(self, request: LoginRequest, location: ClientLocation) -> User:
        if self._limited and not is_loopback(location.address):
            network = network_of(location.address)
            tries = await self._limiter.consume(f"login:{network}", limit=LOG_INS_PER_MINUTE, period_s=60.0)
            if not tries.granted:
                await self._credentials.refuse(tries.reset_s)  # raises TooManyGuesses
        try:
            return await self._credentials.check(request.name, request.password_md5, location.address)
        except NotAuthenticated:
            await self._history.record_wrong_password(request.name, Origin("game", location.address))
            raise

    async def _set_initial_country(self, user: User, location: ClientLocation) -> str:
        """Store and return the country of an account without one, by the origin of the login."""
        country = location.country or country_of(location.address)
        if country != UNKNOWN:
            await self._onboarding.set_first_country(user.id, country)
        return country

    def _record_login(self, request: LoginRequest, user: User, location: ClientLocation) -> None:
        self._logins.record(
            LoginRecord(
                user_id=user.id,
                at_ms=self._clock.now_ms(),
                address=location.address,
                build=request.build,
                stream=request.stream,
                exe=request.executable,
                adapters=request.adapters_md5,
                uninstall=request.uninstall_md5,
                disk=request.disk_md5,
                wine=request.wine,
            )
        )

    async def _open_session(
        self, request: LoginRequest, user: User, priv: int, country: str, location: ClientLocation
    ) -> Session:
        friends, blocked = await self._relationships.relations_of(user.id)
        session = Session(
            token=self._ids.session_token(),
            user_id=user.id,
            name=user.name,
            priv=priv,
            country=country,
            login_time_ms=self._clock.now_ms(),
            status=Status(mode=user.preferred_mode),
            hidden=not is_public(priv),
            tournament=request.tournament,
            build=request.build,
            client=request.version,
            client_hashes=request.client_hashes,
            utc_offset=request.utc_offset,
            longitude=location.longitude if request.shows_city else 0.0,
            latitude=location.latitude if request.shows_city else 0.0,
            friends=friends,
            blocked=blocked,
            friends_only_dms=request.friends_only_dms or bool(user.privacy & Privacy.FRIENDS_ONLY),
            hides_online=bool(user.privacy & Privacy.HIDE_ONLINE),
            silenced_until_ms=user.silenced_until_ms,
        )
        topics = await self._chat.topics_at_login(session)

        async def reread() -> User | None:
            return await self._credentials.recheck(request.name, request.password_md5)

        session = await self._presence.open_session(session, also_follows=topics, reread=reread)
        await self._chat.on_session_start(session)
        return session

    # --- the reply (docs/spec/sessions.md#login-reply)

    async def _reply_body(self, session: Session, *, first: bool) -> bytes:
        texts = self._texts()
        silence_s = max(0, -(-(session.silenced_until_ms - self._clock.now_ms()) // 1000))
        out = [
            packets.protocol_version(PROTOCOL),
            packets.login_reply(session.user_id),
            presence_packets.privileges(session),
        ]
        if texts.welcome:
            out.append(packets.notification(texts.welcome))
        if self._under_maintenance():
            out.append(packets.notification("Maintenance is on: only staff can log in."))
        out += await self._channels(session)
        out += [
            packets.channel_info_end(),
            packets.main_menu_icon(texts.menu_icon, texts.menu_link),
            packets.friends_list([*sorted(session.friends), BOT_ID]),
            packets.silence_end(silence_s),
            presence_packets.presence(session),
            presence_packets.stats_for(session, session),
        ]
        out += await self._others(session)
        out += await self._letters(session)
        if first:
            out += [self._from_bot(session, line) for line in await self._greeting()]
        if session.hidden:
            out.append(packets.account_restricted())
            out.append(
                self._from_bot(
                    session,
                    "Your account is restricted. You can play, but other players can't see you. "
                    "Contact the staff to appeal.",
                )
            )
        return b"".join(out)

    async def _channels(self, session: Session) -> list[bytes]:
        joined, listed = await self._chat.channels_at_login(session)
        out = [_channel_packet(packets.channel_info, channel, users) for channel, users in listed]
        for channel, users in joined:
            out.append(_channel_packet(packets.channel_auto_join, channel, users))
            out.append(packets.channel_join_success(channel.name))
        return out

    async def _others(self, session: Session) -> list[bytes]:
        ids = await self._presence.other_players(session)
        if len(ids) < CROWDED_ABOVE:
            sessions = await self._realtime.sessions_among(ids)
            out = [self._bot]
        else:
            # Two packets for each of thousands of players would be megabytes. The client requests those it shows.
            sessions = await self._realtime.sessions_among([*session.friends])
            out = [packets.user_presence_bundle(ids), self._bot]
        for other in sessions.values():
            out.append(presence_packets.presence(other))
            out.append(presence_packets.stats_for(session, other))
        return out

    async def _letters(self, session: Session) -> list[bytes]:
        if session.hidden or session.tournament:  # the letters wait for a login that can show and answer them
            return []
        letters = await self._mail.unread(session.user_id)
        if not letters:
            return []
        out: list[bytes] = []
        sender = 0
        for letter in letters:  # grouped by sender
            if letter.from_id != sender:
                sender = letter.from_id
                out.append(packets.message(letter.from_name, "Unread messages", session.name, sender))
            when = time_of_line(letter.sent_at_ms)
            out.append(packets.message(letter.from_name, f"[{when}] {letter.text}", session.name, sender))
        # Before the reply is sent: a lost reply loses letters, but no letter comes twice.
        await self._mail.mark_delivered(session.user_id, [letter.id for letter in letters])
        return out

    async def _greeting(self) -> Sequence[str]:
        text = await self._faq.text(WELCOME)
        if text is None:
            return (f"Welcome to {self._texts().title}! Type !help to see what I can do.",)
        return split_lines(text)[:GREETING_MAX]

    def _from_bot(self, session: Session, text: str) -> bytes:
        return packets.message(self._texts().bot_name, text, session.name, BOT_ID)


def _channel_packet(packet: Callable[[str, str, int], bytes], channel: Channel, users: int) -> bytes:
    return packet(channel.name, channel.topic, users)


def _refusal(code: int, word: str, text: str) -> LoginReply:
    return LoginReply(word, packets.login_reply(code) + packets.notification(text))
