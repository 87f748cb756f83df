"""The English phrases of the domain that pages show, for the catalogues: conditions of medals, and errors.

The domain words its errors in English, and most of them contain numbers or names. A pattern of this module has a
placeholder for each such part, so the catalogues have one message for all of them.
"""

import re
from collections.abc import Callable
from typing import Final

from kiai.faces.site.formats import message

MEDALS: Final = (
    message("Pass a map of %(a)s star without No Fail."),
    message("Pass a map of %(a)s stars without No Fail."),
    message("Get a full combo on a map of %(a)s star."),
    message("Get a full combo on a map of %(a)s stars."),
    message("Reach a combo of %(a)s in osu!."),
    message("Pass a map with %(a)s."),
    message("Play osu! %(a)s times."),
    message("Hit %(a)s drum beats in all."),
    message("Hit %(a)s fruits in all."),
    message("Hit %(a)s keys in all."),
    message("Be among the first %(a)s of the osu! ranking."),
    message("Get an S or better on five maps within a day."),
    message("Get an A on a map that gave you a D today."),
    message("Get a D with %(a)s points, without Easy and No Fail."),
    message("Get an A or better on an approved map."),
    message("Get a full combo with an accuracy below %(a)s percent."),
    message("Get a score of six or more digits that are all the same."),
    message("Pass a map that has a leaderboard."),
    message("Play a map a hundred times within a day and pass it."),
    message("Get a full combo on a map of %(a)s minutes %(b)s seconds or more."),
    message("Play each of the four modes %(a)s times."),
    message("Get a full combo on the song that started it all."),
    message("Pass the dance of the festival with more than %(a)s points, without No Fail."),
)
ALLOWED: Final = (
    message("%(a)s to %(b)s characters long"),
    message("%(a)s to %(b)s printable characters"),
    message("at most %(a)s printable characters"),
    message("at most %(a)s characters long"),
    message("at most %(a)s words"),
    message("made of only A-Z, a-z, 0-9, spaces and _ [ ] -, without %(a)s"),
    message("without spaces at the start or end and without two spaces in a row"),
    message("written with spaces or with underscores, not both"),
    message("more than digits"),
    message("a different name; this one is reserved"),
    message("an address like name@example.com"),
    message("an address that can be used here"),
    message("without control characters"),
    message("made of more than 3 different characters"),
    message("different from the name and the e-mail address"),
    message("less common; this one is easy to guess"),
    message("the name of this account"),
    message("two letters of ISO 3166-1"),
    message("a country; the privacy settings can hide it"),
    message("a text"),
    message("a text of at most %(a)s characters"),
    message("a text of %(a)s to %(b)s characters"),
    message("one of %(a)s"),
    message("one of %(a)s on this map"),
    message("a whole number from %(a)s to %(b)s"),
    message("a whole number from 0 to %(a)s, the map's maximum"),
    message("a whole number from 0 to %(a)s, the map's objects"),
    message("%(a)s, the mode of the map (only osu! maps have converts)"),
    message("what happened, in 1 to %(a)s characters"),
    message("%(a)s to %(b)s characters out of %(c)s"),
    message("made of only A-Z, a-z, 0-9, spaces and _ ' [ ] -"),
    message("%(a)s characters"),
    message("%(a)s to %(b)s characters without spaces"),
    message("mods and a number such as HD2"),
    message("words of letters or digits"),
    message("one of the same order"),
    message("one that a page of this search gave"),
    message("the id of a score"),
    message("a number, or mods in letters such as HDDT"),
)
"""The values that a field allows, after "Must be"."""
CLANS: Final = (
    message("only the owner can do that"),
    message("only officers can do that"),
    message("only a higher role can act on this user"),
    message("you are not in a clan"),
    message("you are already in a clan"),
    message("you have already asked to join this clan"),
    message("you have already asked to join %(a)s clans"),
    message("no invitation: the code is wrong"),
    message("no invitation has this code"),
    message("no invitation: this clan is joined by invitation or with its code"),
    message("too many wrong codes: try again in an hour"),
    message("you do too much in clans: try again in a minute"),
    message("the clan is closed"),
    message("the clan is full"),
    message("the clan is already closed"),
    message("the clan is already open"),
    message("the clan is already by invitation"),
    message("the clan is already by request"),
    message("the clan already has this description"),
    message("the clan already has this icon"),
    message("the clan has no icon"),
    message("the clan already has %(a)s open invitations"),
    message("the clan already has %(a)s open requests"),
    message("the tag is already %(a)s"),
    message("the name is already %(a)s"),
    message("the owner can't leave: transfer or disband the clan first"),
    message("the owner can't be removed: transfer the clan first"),
    message("%(a)s is silenced"),
    message("%(a)s is restricted"),
    message("%(a)s is already in a clan"),
    message("%(a)s is already invited"),
    message("%(a)s is already an officer"),
    message("%(a)s is already a member"),
    message("%(a)s is already the owner"),
    message("%(a)s is already the owner: transfer the clan to change that"),
)
"""Why an act in a clan is refused."""
REASONS: Final = (
    message("an export is being prepared already"),
    message("this is your present name"),
    message("this is the present name of the mappool"),
    message("the confirmation has expired; fill in the form again"),
    message("you are the last developer of this server; give the role to another player first"),
    message("an account has at most %(a)s passkeys; remove one first"),
    message("an account has at most %(a)s keys; revoke one first"),
    message("recovery codes need an authenticator or a passkey"),
    message("the recovery codes have changed since this page was opened"),
    message("you are silenced and cannot change %(a)s"),
    message("you are silenced"),
    message("the bot cannot be blocked"),
    message("you can't do that to yourself"),
    message("you can't do that to the bot"),
    message("at most %(a)s are allowed"),
    message("at most %(a)s favourites are allowed"),
    message("a failed play cannot be pinned"),
    message("at most %(a)s scores can be pinned in a mode"),
    message("confirm your e-mail address first"),
    message("this player does not accept your messages"),
    message("this player is silenced and could not answer"),
    message("this player has too many unread messages"),
    message("the message was not sent"),
    message("Your message was not sent, because it contains a word that is not allowed here."),
    message("the account is banned or deleted"),
    message("at most %(a)s comments of one player are stored; delete old ones first"),
    message("you can send %(a)s reports per hour"),
    message("only pending beatmaps can be requested"),
    message("you have already requested this beatmap set"),
    message("the status is already %(a)s"),
    message("you have %(a)s open requests; wait until one is answered"),
    message("enough players have requested this beatmap set"),
    message("the nomination mode is on: use !nominate, or ask an administrator"),
    message("nominators change up to %(a)s maps in 24 hours, you %(b)s more; ask an administrator"),
    message("this beatmap set has no nominations"),
    message("the simple mode is on: one nominator sets the status with !map"),
    message("you cannot nominate your own beatmap set"),
    message("this beatmap set is already qualified"),
    message("no map of this beatmap set is pending"),
    message("you have already nominated this beatmap set"),
    message("you have nominated %(a)s sets that are not ranked yet"),
    message("only the creator of the mappool can do that"),
    message("a mappool has at most %(a)s picks"),
    message("the mappool is already public"),
    message("the mappool is already hidden"),
    message("The pp of this map cannot be computed: %(a)s."),
    message("This is already taken."),
    message("This name is already taken."),
    message("This name is reserved for its former owner."),
    message("This e-mail address cannot be used."),
    message("This invite code is wrong, used up or expired."),
    message("The hit counts add up to %(a)s; the map has %(b)s objects."),
)
"""Why the server refuses something."""

_PLACEHOLDER: Final = re.compile(r"%\\\((\w)\\\)s")
_PATTERNS: Final = tuple(
    # A longer phrase first: it is more exact than one that is a part of it.
    (re.compile(_PLACEHOLDER.sub(r"(?P<\1>.+)", re.escape(phrase)), re.DOTALL), phrase)
    for phrase in sorted((*MEDALS, *ALLOWED, *CLANS, *REASONS), key=len, reverse=True)
)


def known(text: str) -> tuple[str, dict[str, str]] | None:
    """Return the message of a phrase and the values of its placeholders, or None for an unknown phrase."""
    for pattern, phrase in _PATTERNS:
        if found := pattern.fullmatch(text):
            return phrase, found.groupdict()
    return None


def translated(gettext: Callable[[str], str], text: str) -> str:
    """Return a phrase in another language. An unknown one stays English."""
    found = known(text)
    if found is None:
        return text
    phrase, values = found
    return gettext(phrase) % values if values else gettext(phrase)
