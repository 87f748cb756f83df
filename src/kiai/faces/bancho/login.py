"""Logging in (docs/spec/sessions.md): checks in their order, then the session, then the welcome.

The order matters twice. The password is checked before an old session is touched, or anybody could kick anybody. And
the session follows its topics before the list of players is read, so that nobody who arrives in between is missed.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final

import msgspec

from kiai.accounts import Credentials, LoginNote, Logins, Relationships, TooManyGuesses, User
from kiai.accounts.geography import UNKNOWN, Geography
from kiai.accounts.visibility import is_public
from kiai.chat.channels import Channel
from kiai.chat.mail import Mail
from kiai.chat.service import Chat
from kiai.clock import Clock
from kiai.errors import NotAuthenticated, Unavailable
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import presence as shown
from kiai.faces.bancho.login_request import BadLogin, LoginRequest, read_login
from kiai.ids import Ids
from kiai.logs import Outage
from kiai.networks import is_loopback, network_of
from kiai.osu.privileges import STAFF, UNRESTRICTED, VERIFIED, effective, may
from kiai.presence.service import AlreadyOnline, Presence
from kiai.realtime.port import BOT_ID, MANY_ONLINE, Realtime, Session, Status
from kiai.realtime.rate_limiter import RateLimiter
from kiai.staff.joining import Joining
from kiai.staff.ownership import Ownership

PROTOCOL: Final = 19
TOKEN_CHARACTERS: Final = 36  # a session's token; the words of refusals are shorter
TRIES_PER_MINUTE: Final = 30
MAIL_MAX: Final = 200


class Place(msgspec.Struct, frozen=True):
    """Where a request comes from. `latitude` and `longitude` are 0 where only the address is known."""

    address: str
    latitude: float = 0.0
    longitude: float = 0.0
    country: str = ""


class LoginWords(msgspec.Struct, frozen=True):
    """What the operator says to those who log in."""

    title: str
    bot_name: str
    welcome: str
    menu_icon: str
    menu_link: str
    maintenance: bool
    oldest_build: int
    build_age_days: int


class LoggedIn(msgspec.Struct, frozen=True):
    """The answer to a log-in: the `cho-token` header and the body. A refusal has a word for a token."""

    token: str
    body: bytes


class Login:
    """The handler of a request without token."""

    def __init__(
        self,
        words: LoginWords,
        *,
        credentials: Credentials,
        limiter: RateLimiter,
        relationships: Relationships,
        logins: Logins,
        presence: Presence,
        chat: Chat,
        mail: Mail,
        realtime: Realtime,
        clock: Clock,
        ids: Ids,
        joining: Joining,
        ownership: Ownership,
        geography: Geography,
        limited: bool,
    ) -> None:
        self._words = words
        self._credentials = credentials
        self._limiter = limiter
        self._relationships = relationships
        self._logins = logins
        self._presence = presence
        self._chat = chat
        self._mail = mail
        self._realtime = realtime
        self._clock = clock
        self._ids = ids
        self._joining = joining
        self._ownership = ownership
        self._geography = geography
        self._limited = limited
        self._bot = shown.bot(words.bot_name)
        self.outcomes: dict[str, int] = {}
        self._outage = Outage("login", "login unavailable", "login available again")

    async def log_in(self, body: bytes, place: Place) -> LoggedIn:
        """Answers a log-in, right or wrong."""
        answer = await self._answer(body, place)
        outcome = "ok" if len(answer.token) == TOKEN_CHARACTERS else answer.token
        if outcome == "ok":
            self._outage.worked()
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        return answer

    async def _answer(self, body: bytes, place: Place) -> LoggedIn:
        try:
            return await self._log_in(read_login(body), place)
        except BadLogin as bad:
            return _refused(-1, bad.word, bad.text)
        except AlreadyOnline:
            return _refused(-1, "user-already-logged-in", "User already logged in.")
        except NotAuthenticated:
            return _refused(-1, "incorrect-credentials", "Wrong name or password.")
        except Unavailable as error:
            self._outage.failed(error)
            return _refused(-5, "login-failed", "The server is busy. Please try again in a moment.")

    async def _log_in(self, request: LoginRequest, place: Place) -> LoggedIn:
        words = self._words
        if request.build < self._oldest_build():
            return LoggedIn("client-too-old", packets.version_update() + packets.login_reply(-2))
        user = await self._authenticated(request, place)
        if user.banned_at_ms is not None:
            return LoggedIn("login-failed", packets.login_reply(-3))
        if words.maintenance and not effective(user.priv) & STAFF:
            return _refused(-5, "login-failed", f"{words.title} is under maintenance. Please come back later.")
        if request.tournament and not may(user.priv, "client.tournament"):
            return _refused(-6, "login-failed", "Tournament clients are for supporters and tournament staff.")
        await self._presence.make_room(user.id, tournament=request.tournament)
        self._note(request, user, place)
        priv, first = user.priv, False
        matches = await self._logins.shared_with(
            user.id,
            adapters=request.adapters_md5,
            uninstall=request.uninstall_md5,
            disk=request.disk_md5,
            wine=request.wine,
        )
        if not priv & VERIFIED:
            if any(not match.priv & UNRESTRICTED or match.banned for match in matches):
                await self._joining.note_hardware(user.id, matches)
                return _refused(-1, "contact-staff", "Please contact staff directly to create an account.")
            priv, first = await self._joining.first_login(user.id), True
        elif matches and await self._realtime.once(f"hardware:{user.id}", 6 * 3600):
            await self._joining.note_hardware(user.id, matches)
        priv = await self._ownership.settle_first_player(user.id, priv)
        country = user.country if user.country != UNKNOWN else await self._settled_country(user, place)
        session = await self._session(request, user, priv, country, place)
        return LoggedIn(session.token, await self._welcome(session, first=first))

    def _oldest_build(self) -> int:
        oldest = self._words.oldest_build
        if self._words.build_age_days:
            today = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).date()
            aged: date = today - timedelta(days=self._words.build_age_days)
            oldest = max(oldest, int(aged.strftime("%Y%m%d")))
        return oldest

    async def _authenticated(self, request: LoginRequest, place: Place) -> User:
        if self._limited and not is_loopback(place.address):
            network = network_of(place.address)
            tries = await self._limiter.take(f"login:{network}", limit=TRIES_PER_MINUTE, period_s=60.0)
            if not tries.granted:
                raise Unavailable("login", "too many from this address")
        try:
            return await self._credentials.check(request.name, request.password_md5, place.address)
        except TooManyGuesses as error:
            raise Unavailable("login", str(error)) from error

    async def _settled_country(self, user: User, place: Place) -> str:
        """The country of an account that had none until now, by where it logs in from."""
        country = place.country or await self._geography.country_of(place.address)
        if country != UNKNOWN:
            await self._joining.settle_country(user.id, country)
        return country

    def _note(self, request: LoginRequest, user: User, place: Place) -> None:
        self._logins.note(
            LoginNote(
                user_id=user.id,
                at_ms=self._clock.now_ms(),
                address=place.address,
                build=request.build,
                stream=request.stream,
                exe=request.executable,
                adapters=request.adapters_md5,
                uninstall=request.uninstall_md5,
                disk=request.disk_md5,
                wine=request.wine,
            )
        )

    async def _session(self, request: LoginRequest, user: User, priv: int, country: str, place: Place) -> Session:
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
            longitude=place.longitude if request.shows_city else 0.0,
            latitude=place.latitude if request.shows_city else 0.0,
            friends=friends,
            blocked=blocked,
            friends_only_dms=request.friends_only_dms,
            silenced_until_ms=user.silenced_until_ms,
        )
        topics = await self._chat.topics_at_login(session)
        return await self._presence.arrive(session, also_follows=topics)

    # --- the reply (docs/spec/sessions.md#log-in-reply)

    async def _welcome(self, session: Session, *, first: bool) -> bytes:
        words = self._words
        silence_s = max(0, -(-(session.silenced_until_ms - self._clock.now_ms()) // 1000))
        out = [
            packets.protocol_version(PROTOCOL),
            packets.login_reply(session.user_id),
            shown.privileges(session),
        ]
        if words.welcome:
            out.append(packets.notification(words.welcome))
        if words.maintenance:
            out.append(packets.notification("Maintenance is on: only staff can log in."))
        out += await self._channels(session)
        out += [
            packets.channel_info_end(),
            packets.main_menu_icon(words.menu_icon, words.menu_link),
            packets.friends_list([*sorted(session.friends), BOT_ID]),
            packets.silence_end(silence_s),
            shown.presence(session),
            shown.stats_for(session, session),
        ]
        out += await self._others(session)
        out += await self._letters(session)
        if first:
            out.append(self._from_bot(session, f"Welcome to {words.title}! Say !help to me to see what I can do."))
        if session.hidden:
            out.append(packets.account_restricted())
            out.append(
                self._from_bot(
                    session,
                    "Your account is restricted: you can play, but nobody sees you. Contact the staff to appeal.",
                )
            )
        return b"".join(out)

    async def _channels(self, session: Session) -> list[bytes]:
        joined, listed = await self._chat.channels_at_login(session)
        out = [_listed(packets.channel_info, channel, users) for channel, users in listed]
        for channel, users in joined:
            out.append(_listed(packets.channel_auto_join, channel, users))
            out.append(packets.channel_join_success(channel.name))
        return out

    async def _others(self, session: Session) -> list[bytes]:
        ids = await self._presence.others(session)
        if len(ids) < MANY_ONLINE:
            full = await self._realtime.sessions_among(ids)
            out = [self._bot]
        else:
            full = await self._realtime.sessions_among([*session.friends])
            out = [packets.user_presence_bundle(ids), self._bot]
        for other in full.values():
            out.append(shown.presence(other))
            out.append(shown.stats_for(session, other))
        return out

    async def _letters(self, session: Session) -> list[bytes]:
        if session.hidden or session.tournament:
            return []
        letters = await self._mail.unread(session.user_id)
        if not letters:
            return []
        out: list[bytes] = []
        sender = 0
        for letter in letters:
            if letter.from_id != sender:
                sender = letter.from_id
                out.append(packets.message(letter.from_name, "Unread messages", session.name, sender))
            when = datetime.fromtimestamp(letter.sent_at_ms / 1000, UTC).strftime("%a %b %d @ %H:%M")
            out.append(packets.message(letter.from_name, f"[{when}] {letter.text}", session.name, sender))
        await self._mail.mark_delivered(session.user_id, [letter.id for letter in letters])
        return out

    def _from_bot(self, session: Session, text: str) -> bytes:
        return packets.message(self._words.bot_name, text, session.name, BOT_ID)


def _listed(packet: Callable[[str, str, int], bytes], channel: Channel, users: int) -> bytes:
    return packet(channel.name, channel.topic, users)


def _refused(code: int, word: str, text: str) -> LoggedIn:
    return LoggedIn(word, packets.login_reply(code) + packets.notification(text))
