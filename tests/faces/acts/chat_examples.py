"""An example of each command of the bot: who says what, what the answer contains, and the audit row of the act.

A command without an example fails `test_every_command.py`.
"""

import io
from typing import Final

import msgspec
from PIL import Image
from tests.builders import a_play
from tests.faces.acts.desk import NORMAL, Prepare, Scene

from kiai.accounts import Viewer
from kiai.beatmaps import MapStatus
from kiai.staff.audit import OPERATOR


class Example(msgspec.Struct, frozen=True):
    """One use of a command.

    `row`: the action of the one audit row that the act leaves, "" for none, or None for the action of the declaration.
    `by`: the role of the author, or "" for the weakest one with the permission.
    `seated`: the example needs a client of the game, not IRC.
    `fresh`: it needs a server of its own, because it changes the whole server, or needs one without an owner.
    `settings`: the settings of that server.
    """

    line: str
    answer: str
    before: tuple[Prepare, ...] = ()
    row: str | None = None
    by: str = ""
    seated: bool = False
    fresh: bool = False
    settings: tuple[tuple[str, object], ...] = ()

    @property
    def command(self) -> tuple[str, str]:
        """Group and name of the command."""
        first, _, rest = self.line.removeprefix("!").partition(" ")
        return (first, rest.split(maxsplit=1)[0]) if first in ("mp", "pool", "clan") else ("", first)


# --- states before an example


def np(scene: Scene, status: MapStatus = MapStatus.PENDING) -> None:
    """The author has named a new map with /np."""
    new = scene.desk.map(status)
    scene.values["map"] = new.id
    link = f"https://osu.ppy.sh/beatmapsets/{new.id}#/{new.id}"
    scene.desk.say(scene.actor, f"\x01ACTION is playing [{link} A - B [C]]\x01", "#osu")


def np_ranked(scene: Scene) -> None:
    """The author has named a ranked map with /np."""
    np(scene, MapStatus.RANKED)


def requested(scene: Scene) -> None:
    """A player has requested the map of the author's /np."""
    beatmap = scene.run(scene.services.beatmaps.find(id=int(str(scene.values["map"]))))
    scene.run(scene.services.community.map_requests.request(scene.target.id, beatmap))


def played(scene: Scene) -> None:
    """The target has a score on a new map."""
    beatmap = scene.run(scene.services.beatmaps.find(md5=scene.desk.map(MapStatus.RANKED).md5))
    scene.run(scene.services.recorder.record(a_play(by=scene.target.id, on=beatmap)))


def scored(scene: Scene) -> None:
    """The target has a score on the map of the author's /np."""
    np_ranked(scene)
    beatmap = scene.run(scene.services.beatmaps.find(id=int(str(scene.values["map"]))))
    recorded = scene.run(scene.services.recorder.record(a_play(by=scene.target.id, on=beatmap)))
    scene.values["score"] = recorded.score_id


def hidden(scene: Scene) -> None:
    """Staff has hidden the score of the target."""
    scene.run(scene.services.community.wipes.hide_score(OPERATOR, int(str(scene.values["score"])), "rx"))


def wiped(scene: Scene) -> None:
    """The target is wiped."""
    scene.run(scene.services.community.wipes.wipe_user(OPERATOR, scene.target.id, "rx"))


def map_wiped(scene: Scene) -> None:
    """The map of the author's /np is wiped."""
    beatmap = scene.run(scene.services.beatmaps.find(id=int(str(scene.values["map"]))))
    scene.run(scene.services.community.wipes.wipe_map(OPERATOR, beatmap, "broken"))


def played_worse(scene: Scene) -> None:
    """The author has a score on a new map, and a later one that is worse."""
    beatmap = scene.run(scene.services.beatmaps.find(md5=scene.desk.map(MapStatus.RANKED).md5))
    for pp, score in ((90.0, 900_000), (80.0, 800_000)):
        scene.run(scene.services.recorder.record(a_play(by=scene.actor.id, on=beatmap, pp=pp, score=score)))


def watched(scene: Scene) -> None:
    """A player watches the target."""
    watcher = scene.desk.person()
    scene.values["watcher"] = watcher.name
    scene.run(scene.services.spectating.start(scene.desk.session(watcher), scene.target.id))


def blocked(scene: Scene) -> None:
    """The author has blocked the target."""
    scene.desk.say(scene.actor, f"!block {scene.target.name}")


def letters(scene: Scene) -> None:
    """The target has written to the author, who was offline."""
    scene.run(scene.services.mail.store(scene.target.id, scene.actor.id, "hello", delivered=False))


def silenced(scene: Scene) -> None:
    """The target is silenced."""
    scene.run(scene.services.silences.silence(OPERATOR, scene.target.id, 3_600, "rude"))


def restricted(scene: Scene) -> None:
    """The target is restricted."""
    scene.run(scene.services.community.restrictions.restrict(OPERATOR, scene.target.id, "rx"))


def banned(scene: Scene) -> None:
    """The target is banned."""
    scene.run(scene.services.community.restrictions.ban(OPERATOR, scene.target.id, "rx"))


def frozen(scene: Scene) -> None:
    """The target is frozen."""
    scene.run(scene.services.community.restrictions.freeze(OPERATOR, scene.target.id, "prove it", seconds=3_600))


def donor(scene: Scene) -> None:
    """The target has donor time."""
    scene.run(scene.services.community.donors.give(OPERATOR, scene.target.id, 86_400, "supporter"))


def whitelisted(scene: Scene) -> None:
    """The target is whitelisted."""
    scene.run(scene.services.staff.whitelist(OPERATOR, scene.target.id, "trusted", on=True))


def role(name: str) -> Prepare:
    """Return a state in which the target has a role."""

    def prepare(scene: Scene) -> None:
        scene.run(scene.services.staff.grant(OPERATOR, scene.target.name, [name]))

    return prepare


def reported(scene: Scene) -> None:
    """Another player has reported the target."""
    other = scene.desk.person()
    scene.desk.say(other, f"!report {scene.target.name} (Spamming) loud")
    reports, _ = scene.run(scene.services.community.reports.listed(OPERATOR, about=scene.target.id))
    scene.values["report"] = reports[0].id


def flagged(scene: Scene) -> None:
    """The target has a flag."""
    scene.run(scene.services.flags.add(scene.target.id, "client"))
    scene.values["flag"] = scene.run(scene.services.flags.page(user_id=scene.target.id, limit=1))[0].id


def unowned(scene: Scene) -> None:
    """The server has a claim code."""
    scene.values["code"] = scene.run(scene.services.ownership.claim_code()).code


def has_userpage(scene: Scene) -> None:
    """The target has a userpage."""
    viewer = Viewer(user_id=scene.target.id, priv=NORMAL)
    scene.run(scene.services.accounts.set_profile(viewer, {"userpage_content": "hello"}, _nothing))


def has_avatar(scene: Scene) -> None:
    """The target has an avatar."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "PNG")
    scene.run(scene.services.avatars.change(scene.target.id, picture.getvalue(), _nothing))


def address_blocked(scene: Scene) -> None:
    """The address `{ip}` is blocked."""
    scene.run(scene.services.community.address_blocks.block(OPERATOR, str(scene.values["ip"]), "spam"))


def in_channel(name: str) -> Prepare:
    """Return a state in which the author writes in a channel."""

    def prepare(scene: Scene) -> None:
        scene.channel = name

    return prepare


def leads(scene: Scene) -> None:
    """The author is the host of a new match in which the target has a seat, and writes in its channel."""
    scene.values["match"] = match_id = scene.desk.open_match(scene.actor)
    scene.run(scene.services.matches.join(scene.desk.session(scene.target), match_id, ""))
    scene.channel = f"#multi_{match_id}"


def visits(scene: Scene) -> None:
    """The author writes in the channel of a match of another player, in which the target has a seat."""
    scene.values["match"] = match_id = scene.desk.open_match(scene.desk.person())
    scene.run(scene.services.matches.join(scene.desk.session(scene.target), match_id, ""))
    scene.channel = f"#multi_{match_id}"


def visits_without_target(scene: Scene) -> None:
    """The author writes in the channel of a match of another player, in which the target has no seat."""
    scene.values["match"] = match_id = scene.desk.open_match(scene.desk.person())
    scene.channel = f"#multi_{match_id}"


def in_teams(scene: Scene) -> None:
    """The match has teams."""
    scene.desk.say(scene.actor, "!mp set 2", scene.channel)


def says(line: str) -> Prepare:
    """Return a state after a line of the author."""

    def prepare(scene: Scene) -> None:
        answer = scene.desk.carry_out(scene.actor, scene.text(line), scene.channel)
        assert not any("Usage" in text for text in answer), answer

    return prepare


def pool(scene: Scene) -> None:
    """There is a mappool with the pick NM1, of the author if the author may have one."""
    map_ = scene.desk.map(MapStatus.RANKED)
    scene.values |= {"pool": f"pool{scene.values['n']}", "map": map_.id}
    scene.run(scene.services.pools.create(str(scene.values["pool"]), scene.actor.id, also=_nothing))
    found = scene.run(scene.services.pools.named(str(scene.values["pool"])))
    scene.run(scene.services.pools.add(found.id, "NM1", map_.id, also=_nothing))


async def _nothing(*_: object) -> None:
    """Write nothing."""


def clan(owner: str, *members: str) -> Prepare:
    """Return a state with a clan, `{tag}`. `owner` and `members` are "actor" or "target"."""

    def prepare(scene: Scene) -> None:
        people = {"actor": scene.actor, "target": scene.target}
        tag = f"T{scene.values['n']}"[-6:]
        scene.values["tag"] = tag
        staff = scene.services.community.clan_staff
        clan_id = scene.run(staff.found(OPERATOR, people[owner].id, tag, f"Clan {scene.values['n']}"))
        acts = scene.services.community.clans
        for member in members:
            scene.run(acts.invite(people[owner].id, clan_id, people[member].id))
            scene.run(acts.join(people[member].id, clan_id))
        scene.values["clan"] = clan_id

    return prepare


def asks_to_join(scene: Scene) -> None:
    """The target asks to join the clan of the author."""
    acts = scene.services.community.clans
    clan_id = int(str(scene.values["clan"]))
    scene.desk.say(scene.actor, "!clan status request")
    scene.run(acts.join(scene.target.id, clan_id))


def invited(scene: Scene) -> None:
    """The author is invited to the clan of the target."""
    acts = scene.services.community.clans
    scene.run(acts.invite(scene.target.id, int(str(scene.values["clan"])), scene.actor.id))


def officer(scene: Scene) -> None:
    """The target is an officer of the author's clan."""
    scene.desk.say(scene.actor, f"!clan promote {scene.target.name}")


# --- the examples

EXAMPLES: Final = (
    # everybody
    Example("!confirm 000000", "Nothing to confirm"),
    Example("!help", "Page 1 of"),
    Example("!help roll", "For: everybody."),
    Example("!roll 1", "rolls 1 point(s)"),
    Example("!where {t}", "is in Netherlands"),
    Example("!stats {t}", "Stats for ({t})"),
    Example("!recent {t}", "pp", (played,)),
    Example("!top {t}", "1. ", (played,)),
    Example("!block {t}", "{t} is blocked"),
    Example("!unblock {t}", "{t} is no longer blocked", (blocked,)),
    Example("!reconnect", "", row=""),
    Example("!reconnect {t}", "The client of {t} logs in again", row="kick", by="administrator"),
    Example("!changename renamed{n}", "Your name is now renamed{n}"),
    Example("!apikey", "Click the link to copy your API key"),
    Example("!mail", "{t}: 1 unread", (letters,)),
    Example("!overwrite", "Your best score on this beatmap is now", (played_worse,)),
    Example("!ranking score", "Your client shows ranks by ranked score now"),
    Example("!client", "Your client is b20250415.2"),
    Example("!client {t}", "{t} has b20250415.2", by="moderator"),
    Example("!with 95%", "95%", (np,)),
    Example("!maplink", "beatmapsets/{map}", (np,)),
    Example("!server", "players online"),
    Example("!current", "The host is choosing a map", (leads,), seated=True),
    Example("!claim {code}", "You are now the owner", (unowned,), seated=True, fresh=True),
    Example("!faq list", "FAQ"),
    Example("!request", "has been sent to the nominators", (np,)),
    Example("!whoranked", "No staff member has set this status", (np,)),
    Example("!search song", "no mirror to search"),
    Example("!report {t} (Spamming) loud", "Your report has been sent"),
    # nominators
    Example("!requests", "Page 1 of", (np, requested)),
    Example("!map rank", "set the status of 1 map to ranked", (np,)),
    Example("!map unfreeze", "unfroze the status of 1 map", (np_ranked,)),
    Example("!mrs", "set the status of 1 map to ranked", (np,)),
    Example("!close not finished", "closed 1 request", (np, requested)),
    Example("!refresh", "up to date with upstream", (np,)),
    Example(
        "!nominate good", "The set has 1 of 2 nominations", (np,), fresh=True, settings=(("nomination_mode", True),)
    ),
    Example(
        "!denominate broken",
        "reset 1 nomination",
        (np, says("!nominate good")),
        fresh=True,
        settings=(("nomination_mode", True),),
    ),
    # moderators
    Example("!notes {t}", "There is nothing about {t}"),
    Example("!addnote {t} careful", "Added note"),
    Example("!silence {t} 10m rude", "{t} is silenced for 10 minutes"),
    Example("!unsilence {t} fine", "{t} is unsilenced", (silenced,)),
    Example("!kick {t} stuck", "{t} is kicked"),
    Example("!moderated", "", (in_channel("#osu"),)),
    Example("!reloadfilter", "The word filter has "),
    Example("!multi {t}", "shares no device"),
    Example("!reports", "Page 1 of", (reported,), row=""),
    Example("!reports close {report} handled", "Report {report} about {t} is closed", (reported,)),
    Example("!flags {t}", "{flag}", (flagged,), row=""),
    Example("!flags close {flag} clean fine", "{flag}", (flagged,)),
    Example("!clearchat {t}", "Removed the lines of {t}", (in_channel("#osu"),)),
    Example("!spectators {t}", "Nobody watches {t}"),
    Example("!spectators {t}", "1 player watches {t}: {watcher}", (watched,)),
    # administrators
    Example("!restrict {t} 7d rx", "{t} is restricted for 7 days"),
    Example("!unrestrict {t} aa", "{t} is unrestricted", (restricted,)),
    Example("!unrestrict {t} keep aa", "{t} is unrestricted", (restricted,)),
    Example("!unrestrict {t} wipe aa", "{t} is unrestricted and wiped: 1 score hidden", (scored, restricted)),
    Example("!hidescore {score} rx", "Score {score} of {t} is hidden", (scored,)),
    Example("!unhidescore {score} aa", "Score {score} of {t} is visible again", (scored, hidden)),
    Example("!ban {t} rx", "{t} is banned"),
    Example("!unban {t} aa", "{t} is unbanned", (banned,)),
    Example("!freeze {t} 7d show us", "{t} is frozen for 7 days"),
    Example("!unfreeze {t} seen", "{t} is unfrozen", (frozen,)),
    Example("!whitelist {t} trusted", "{t} is whitelisted"),
    Example("!unwhitelist {t} done", "{t} is not whitelisted any more", (whitelisted,)),
    Example("!rename {t} other{n}", "{t} is renamed to other{n}"),
    Example("!setcountry {t} de", "{t} is moved to the country de"),
    Example("!user {t}", "{t}"),
    Example("!delavatar {t} rude", "Removed the avatar of {t}", (has_avatar,)),
    Example("!deluserpage {t} rude", "Removed the userpage of {t}", (has_userpage,)),
    Example("!alert hello", "Sent a notification to all online players", fresh=True),
    Example("!alertuser {t} hello", "Sent a notification to {t}"),
    Example("!announce hello", "Posted in #announce"),
    # developers
    Example("!addpriv {t} moderator", "{t} has the role moderator"),
    Example("!rmpriv {t} moderator", "{t} no longer has", (role("moderator"),)),
    Example("!addbn {t}", "{t} has the role nominator"),
    Example("!removebn {t}", "{t} no longer has", (role("nominator"),)),
    Example("!givedonator {t} 30d", "{t} is supporter for 30 days"),
    Example("!removedonator {t} refunded", "{t} is no donor any more", (donor,)),
    Example("!deleteuser {t}", "{t} is deleted"),
    Example("!wipeuser {t} rx", "{t} is wiped: 1 score hidden", (scored,)),
    Example("!wipeuser {t} vn!std rx", "{t} is wiped: 1 score in vn!std hidden", (scored,)),
    Example("!restorescores {t} aa", "{t} is restored: 1 score visible again", (scored, wiped)),
    Example("!wipemap broken", "is wiped: 1 score hidden", (scored,)),
    Example("!restoremap repaired", "is restored: 1 score visible again", (scored, map_wiped)),
    Example("!recalc user {t}", "is queued. I will tell you when it is done"),
    Example("!maintenance on", "Maintenance is on", fresh=True),
    Example("!registration off", "Registration is closed", fresh=True),
    Example("!shutdown 1h update", "The server stops in 1 hour", fresh=True),
    Example("!debug on", "All workers log debug lines", fresh=True),
    Example("!reload settings", "The settings were read again"),
    Example("!blockip {ip} 7d spam", "{ip}/32 is blocked for 7 days"),
    Example("!unblockip {ip} fixed", "{ip}/32 is unblocked", (address_blocked,)),
    # mappools
    Example("!pool create pool{n}", "Created the mappool pool{n}"),
    Example("!pool delete {pool}", "Deleted the mappool {pool}", (pool,)),
    Example("!pool add {pool} HD1 75", "HD1 of {pool} is now map 75", (pool,)),
    Example("!pool remove {pool} NM1", "NM1 is no longer in {pool}", (pool,)),
    Example("!pool list", "{pool}", (pool,)),
    Example("!pool info {pool}", "NM1 {map}", (pool,), by="tournament"),
    Example("!pool publish {pool} on", "is now public", (pool,)),
    # clans
    Example("!clan help", "!clan help | create"),
    Example("!clan create N{n} New {n}", "You have founded"),
    Example("!clan info {tag}", "Clan {n}", (clan("target"),)),
    Example("!clan list", "There are no ranked clans yet"),
    Example("!clan join {tag}", "{tag}", (clan("target"), invited)),
    Example("!clan leave", "left", (clan("target", "actor"),)),
    Example("!clan invite {t}", "{t}", (clan("actor"),)),
    Example("!clan requests", "{t}", (clan("actor"), asks_to_join)),
    Example("!clan accept {t}", "{t}", (clan("actor"), asks_to_join)),
    Example("!clan deny {t}", "{t}", (clan("actor"), asks_to_join)),
    Example("!clan kick {t}", "{t}", (clan("actor", "target"),)),
    Example("!clan promote {t}", "{t}", (clan("actor", "target"),)),
    Example("!clan demote {t}", "{t}", (clan("actor", "target"), officer)),
    Example("!clan transfer {t}", "{t}", (clan("actor", "target"),)),
    Example("!clan rename Other {n}", "Other {n}", (clan("actor"),), row=""),
    Example("!clan rename {tag} Other {n}", "Other {n}", (clan("target"),), by="administrator"),
    Example("!clan tag O{n}", "O{n}", (clan("actor"),), row=""),
    Example("!clan tag {tag} O{n}", "O{n}", (clan("target"),), by="administrator"),
    Example("!clan description Hello", "The description of the clan is changed", (clan("actor"),)),
    Example("!clan status open", "open", (clan("actor"),), row=""),
    Example("!clan status {tag} open", "open", (clan("target"),), by="administrator"),
    Example("!clan disband", "disbanded", (clan("actor"),), row=""),
    Example("!clan disband {tag}", "disbanded", (clan("target"),), by="administrator"),
    # matches
    Example("!mp make Final {n}", "Created the tournament match"),
    Example("!mp makeprivate Final {n}", "Created the tournament match"),
    Example("!mp help", "!mp help | close", (leads,), seated=True),
    Example("!mp close", "", (leads,), row="", seated=True),
    Example("!mp close", "", (visits,), by="tournament"),
    Example("!mp name Semi {n}", 'Room name updated to "Semi {n}"', (leads,), seated=True),
    Example("!mp password secret", "", (leads,), seated=True),
    Example("!mp randpw", "The password of", (leads,), seated=True),
    Example("!mp invite {t}", "User is already in the room", (leads,), seated=True),
    Example("!mp force {t}", "Seated {t} in the match", (visits_without_target,)),
    Example("!mp lock", "Locked the match", (leads,), seated=True),
    Example("!mp unlock", "Unlocked the match", (leads,), seated=True),
    Example("!mp size 4", "Changed match to size 4", (leads,), seated=True),
    Example("!mp set 2 3 8", "Changed match settings to 8 slots, TeamVs, ScoreV2", (leads,), seated=True),
    Example("!mp teams teams", "Changed match settings to TeamVs", (leads,), seated=True),
    Example("!mp condition acc", "Changed win condition to Accuracy", (leads,), seated=True),
    Example("!mp scorev 2", "Changed win condition to ScoreV2", (leads,), seated=True),
    Example("!mp move {t} 5", "Moved {t} into slot 5", (leads,), seated=True),
    Example("!mp host {t}", "Changed match host to {t}", (leads,), seated=True),
    Example("!mp clearhost", "Cleared match host", (leads,), seated=True),
    Example("!mp settings", "Players: 2", (leads,), seated=True),
    Example(
        "!mp start 60", "Queued the match to start in 1 minute", (np_ranked, leads, says("!mp map {map}")), seated=True
    ),
    Example("!mp abort", "The match is not in progress", (leads,), seated=True),
    Example("!mp timer 60", "Countdown ends in 1 minute", (leads,), seated=True),
    Example("!mp aborttimer", "Countdown aborted", (leads, says("!mp timer 60")), seated=True),
    Example("!mp map {map}", "Changed beatmap to", (np_ranked, leads), seated=True),
    Example("!mp mods HDHR", "Enabled Hidden, HardRock, disabled FreeMod", (leads,), seated=True),
    Example("!mp freemods on", "enabled FreeMod", (leads,), seated=True),
    Example("!mp team {t} blue", "Moved {t} to team Blue", (leads, in_teams), seated=True),
    Example("!mp kick {t}", "Kicked {t} from the match", (leads,), row="", seated=True),
    Example("!mp kick {t}", "Kicked {t} from the match", (visits,), by="tournament"),
    Example("!mp ban {t}", "Banned {t} from the match", (leads,), row="", seated=True),
    Example("!mp ban {t}", "Banned {t} from the match", (visits,), by="tournament"),
    Example("!mp unban {t}", "Unbanned {t} from the match", (leads, says("!mp ban {t}")), seated=True),
    Example("!mp addref {t}", "Added {t} to the match referees", (leads,), seated=True),
    Example("!mp removeref {t}", "Removed {t} from the match referees", (leads, says("!mp addref {t}")), seated=True),
    Example("!mp listrefs", "Match referees:", (leads,), seated=True),
    Example("!mp link", "/community/matches/", (leads,), seated=True),
    Example("!mp scrim bo3", "", (leads,), seated=True),
    Example("!mp endscrim", "", (leads, says("!mp scrim bo3")), seated=True),
    Example("!mp rematch", "", (leads, says("!mp scrim bo3"), says("!mp endscrim")), seated=True),
    Example("!mp points 1 0", "Red 1", (leads, in_teams, says("!mp scrim bo3")), seated=True),
    Example("!mp loadpool {pool}", "The mappool {pool} is loaded", (pool, leads), seated=True),
    Example("!mp unloadpool", "The mappool is unloaded", (pool, leads, says("!mp loadpool {pool}")), seated=True),
    Example("!mp pick NM1", "Picked NM1", (pool, leads, says("!mp loadpool {pool}")), seated=True),
    Example("!mp banpick NM1", "NM1 is banned", (pool, leads, says("!mp loadpool {pool}")), seated=True),
    Example(
        "!mp unbanpick NM1",
        "NM1 is no longer banned",
        (pool, leads, says("!mp loadpool {pool}"), says("!mp banpick NM1")),
        seated=True,
    ),
    Example("!mp picks", "Remaining: NM1", (pool, leads, says("!mp loadpool {pool}")), seated=True),
    Example("!mp roll", "rolls", (leads,), seated=True),
)
