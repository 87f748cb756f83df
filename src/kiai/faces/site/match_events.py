"""The events of a match as sentences."""

from collections.abc import Mapping
from typing import Any

import msgspec

from kiai.faces.site.locale import Locale
from kiai.multiplayer.history import MatchEvent
from kiai.multiplayer.model import BLUE, RED
from kiai.osu.mods import mods_text


class ShownEvent(msgspec.Struct, frozen=True):
    """An event with its sentence."""

    at_ms: int
    text: str


def shown(event: MatchEvent, names: Mapping[int, str], locale: Locale) -> ShownEvent:
    """Return an event as a sentence in the visitor's language. `names` has the visible players."""
    details = msgspec.json.decode(event.details, type=dict[str, Any])
    return ShownEvent(event.at_ms, _sentence(event, details, names, locale))


def _sentence(event: MatchEvent, details: Mapping[str, Any], names: Mapping[int, str], locale: Locale) -> str:
    text = locale.text
    player = names.get(event.user_id, text("Hidden player"))
    match event.kind:
        case "created":
            return text("%(player)s opened the match.", player=player)
        case "joined":
            return text("%(player)s joined.", player=player)
        case "left":
            why = details["why"]
            if why == "kicked":
                return text("%(player)s was kicked.", player=player)
            if why == "banned":
                return text("%(player)s was banned from the match.", player=player)
            return text("%(player)s left.", player=player)
        case "host_passed":
            return text("%(player)s became the host.", player=player)
        case "referee_added":
            return text("%(player)s became a referee.", player=player)
        case "referee_removed":
            return text("%(player)s is no longer a referee.", player=player)
        case "team_changed":
            return text(
                "%(player)s changed to team %(team)s.", player=player, team=_side(details["team"], names, locale)
            )
        case "player_failed":
            return text("%(player)s failed.", player=player)
        case "closed":
            return text("The match was closed.")
    return _setting(event.kind, details, locale) or _scrim(event.kind, details, names, locale)


def _setting(kind: str, details: Mapping[str, Any], locale: Locale) -> str:
    text = locale.text
    match kind:
        case "name_changed":
            return text("The match was renamed to %(name)s.", name=details["name"])
        case "map_changed":
            return text("The beatmap is %(map)s.", map=details["map_name"])
        case "map_choosing":
            return text("The host is choosing a beatmap.")
        case "mods_changed":
            return text("The mods are %(mods)s.", mods=mods_text(details["mods"]) or "NM")
        case "free_mods_changed":
            return (
                text("Players choose their mods.") if details["on"] else text("All players have the mods of the match.")
            )
        case "started":
            return text("A map began.")
        case "finished":
            return text("The map ended.")
        case "aborted":
            return text("The map was aborted.")
        case "password_changed":
            return text("The password was changed.")
    return ""


def _scrim(kind: str, details: Mapping[str, Any], names: Mapping[int, str], locale: Locale) -> str:
    text = locale.text
    match kind:
        case "scrim_began":
            return text("A best of %(count)s began.", count=details["best_of"])
        case "point_won":
            return text("%(side)s won the point.", side=_side(details["side"], names, locale))
        case "point_taken":
            return text("The last point of %(side)s was taken back.", side=_side(details["side"], names, locale))
        case "points_set":
            side = _side(details["side"], names, locale)
            return text("%(side)s was given %(points)s points.", side=side, points=details["points"])
        case "round_tied":
            return text("The map was a tie.")
        case "scrim_won":
            return text("%(side)s won the scrim.", side=_side(details["side"], names, locale))
        case "scrim_ended":
            return text("The scrim ended.")
        case "pool_loaded":
            return text("The mappool %(name)s was loaded.", name=details["name"])
        case "pool_unloaded":
            return text("The mappool was unloaded.")
        case "pick_used":
            return text("%(pick)s was picked.", pick=details["pick"])
        case "pick_banned":
            return text("%(pick)s was banned.", pick=details["pick"])
        case "pick_unbanned":
            return text("The ban of %(pick)s was lifted.", pick=details["pick"])
    return text("The settings of the match changed.")


def _side(side: int, names: Mapping[int, str], locale: Locale) -> str:
    if side in (BLUE, RED):
        return locale.text("Blue") if side == BLUE else locale.text("Red")
    return names.get(side, locale.text("Hidden player")) if side else locale.text("No team")


def users_of(event: MatchEvent) -> set[int]:
    """Return the ids of the users whom the sentence of an event names. They may contain numbers of teams."""
    side = msgspec.json.decode(event.details, type=dict[str, Any]).get("side")
    return {event.user_id} | ({side} if isinstance(side, int) else set())
