"""The commands of the bot against the table of the commands that players and staff of other servers know.

A row has the group, the name with its aliases, the weakest role, the place, and whether only the author sees it.
"""

from typing import Final

import pytest
from tests.faces.acts.desk import Desk, weakest_role

from kiai.chat.bot import CommandScope

PLACES: Final = {"any": CommandScope.ANYWHERE, "dm": CommandScope.DM, "match": CommandScope.MATCH}
TABLE: Final = """
help h                                              player         any    hidden
roll                                                player         any    visible
where                                               player         any    hidden
stats                                               player         any    visible
recent last r rs                                    player         any    visible
top                                                 player         any    hidden
with w                                              player         dm     -
maplink mirror mapdl bloodcat beatconnect chimu q   player         any    visible
current c                                           player         match  visible
search                                              player         any    hidden
request req                                         player         any    visible
whoranked                                           player         any    visible
report                                              player         any    hidden
faq                                                 player         any    visible
server status                                       player         any    visible
client version                                      player         any    hidden
block                                               player         any    hidden
unblock                                             player         any    hidden
reconnect rc                                        player         any    hidden
changename                                          supporter      dm     -
apikey                                              player         dm     -
mail                                                player         dm     -
ranking                                             player         any    hidden
overwrite                                           supporter      dm     -
requests reqs                                       nominator      any    hidden
map                                                 nominator      any    hidden
mrs                                                 nominator      any    hidden
close                                               nominator      any    hidden
refresh                                             nominator      any    hidden
nominate                                            nominator      any    hidden
denominate                                          nominator      any    hidden
notes                                               moderator      any    hidden
addnote                                             moderator      any    hidden
silence mute                                        moderator      any    hidden
unsilence unmute                                    moderator      any    hidden
kick disconnect kill                                moderator      any    hidden
moderated                                           moderator      any    visible
multi hardware                                      moderator      any    hidden
reports                                             moderator      any    hidden
flags                                               moderator      any    hidden
clearchat                                           moderator      any    visible
spectators                                          moderator      any    hidden
restrict                                            administrator  any    hidden
unrestrict                                          administrator  any    hidden
hidescore                                           administrator  any    hidden
unhidescore                                         administrator  any    hidden
ban                                                 administrator  any    hidden
unban                                               administrator  any    hidden
freeze                                              administrator  any    hidden
unfreeze                                            administrator  any    hidden
whitelist                                           administrator  any    hidden
unwhitelist                                         administrator  any    hidden
rename change_username cu                           administrator  any    hidden
alert alertall broadcast                            administrator  any    hidden
alertuser alertu                                    administrator  any    hidden
announce                                            administrator  any    hidden
user u                                              administrator  any    hidden
delavatar                                           administrator  any    hidden
deluserpage                                         administrator  any    hidden
setcountry                                          administrator  any    hidden
addpriv ap                                          developer      any    hidden
rmpriv rp                                           developer      any    hidden
addbn                                               developer      any    hidden
removebn                                            developer      any    hidden
givedonator                                         developer      any    hidden
removedonator                                       developer      any    hidden
deleteuser delete_user                              developer      any    hidden
wipeuser                                            developer      any    hidden
restorescores                                       developer      any    hidden
wipemap                                             developer      any    hidden
reloadfilter                                        developer      any    hidden
recalc                                              developer      any    hidden
maintenance panic                                   developer      any    hidden
registration                                        developer      any    hidden
shutdown restart                                    developer      any    hidden
debug                                               developer      any    hidden
reload                                              developer      any    hidden
blockip                                             developer      any    hidden
unblockip                                           developer      any    hidden
clan help h                                         player         any    hidden
clan create c                                       player         any    hidden
clan disband delete d                               player         any    hidden
clan info i                                         player         any    hidden
clan list l                                         player         any    hidden
clan leave                                          player         any    hidden
clan invite inv                                     player         any    hidden
clan join j                                         player         any    hidden
clan requests                                       player         any    hidden
clan accept                                         player         any    hidden
clan deny                                           player         any    hidden
clan kick k                                         player         any    hidden
clan promote                                        player         any    hidden
clan demote                                         player         any    hidden
clan transfer                                       player         any    hidden
clan rename                                         player         any    hidden
clan tag                                            player         any    hidden
clan status                                         player         any    hidden
clan description desc                               player         any    hidden
mp help h                                           player         match  visible
mp make create                                      player         dm     -
mp makeprivate createprivate                        player         dm     -
mp close terminate disband                          player         match  visible
mp name setname                                     player         match  visible
mp password setpassword pass p                      player         match  hidden
mp randpw randompassword                            player         match  hidden
mp invite inv i                                     player         match  visible
mp force forceinvite                                tournament     match  visible
mp lock                                             player         match  visible
mp unlock                                           player         match  visible
mp size                                             player         match  visible
mp set                                              player         match  visible
mp teams                                            player         match  visible
mp condition cond                                   player         match  visible
mp scorev                                           player         match  visible
mp move                                             player         match  visible
mp host sethost                                     player         match  visible
mp clearhost removehost ch                          player         match  visible
mp settings                                         player         match  visible
mp start st                                         player         match  visible
mp abort a                                          player         match  visible
mp timer countdown wait                             player         match  visible
mp aborttimer stoptimer canceltimer at              player         match  visible
mp map setmap beatmap                               player         match  visible
mp mods setmods                                     player         match  visible
mp freemods freemod fm fmods                        player         match  visible
mp team setteam                                     player         match  visible
mp kick remove                                      player         match  visible
mp ban                                              player         match  visible
mp unban                                            player         match  visible
mp addref addreferee                                player         match  visible
mp removeref rmref remref                           player         match  visible
mp listrefs listref                                 player         match  visible
mp link url                                         player         match  visible
mp scrim autoref                                    player         match  visible
mp endscrim end                                     player         match  visible
mp rematch rm                                       player         match  visible
mp points                                           player         match  visible
mp loadpool lp                                      player         match  visible
mp unloadpool ulp                                   player         match  visible
mp pick                                             player         match  visible
mp banpick                                          player         match  visible
mp unbanpick                                        player         match  visible
mp picks                                            player         match  visible
mp roll                                             player         match  visible
pool create c                                       tournament     any    hidden
pool delete del d                                   tournament     any    hidden
pool add a                                          tournament     any    hidden
pool remove rm r                                    tournament     any    hidden
pool list l                                         tournament     any    hidden
pool info i                                         player         any    hidden
pool publish                                        tournament     any    hidden
"""
OWN: Final = {
    "confirm": "carries out a command that asked for it",
    "claim": "makes a player the owner of a server without owner",
    "restoremap": "undoes a wrong !wipemap",
}
"""Commands of kiai that no other server has, and why they exist."""
OMITTED: Final = {
    "verify": "the website and the game share one account: there is nothing to link",
    "link": "the website and the game share one account: there is nothing to link",
    "speedrun": "challenges against the clock are not a part of the game",
    "switchserv": "sends a client to another server, which is of no use here",
    "stealth": "a player who seems offline and plays confuses boards and presences",
    "py": "runs code from chat",
    "exec": "runs code from chat",
    "profiling": "runs code from chat",
    "submit": "`kiai replays import` stores scores",
    "rtx": "a joke",
    "spectateuser": "watches a player's screen",
    "monitor": "watches a player's screen",
}
"""Commands of other servers that kiai does not have, and why."""
ROWS: Final = [row.split() for row in TABLE.strip().splitlines()]
GROUPS: Final = ("clan", "mp", "pool")


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_command_has_its_names_role_place_and_visibility(desk: Desk, row: list[str]) -> None:
    *names, role, place, visibility = row
    group = names.pop(0) if names[0] in GROUPS else ""
    [command] = [one for one in desk.commands if (one.group, one.name) == (group, names[0])]

    assert [command.name, *command.aliases] == names
    assert weakest_role(command.permission) == role
    assert command.scope is PLACES[place]
    assert visibility == "-" or command.hidden == (visibility == "hidden")


def test_every_command_is_a_row_or_has_a_reason(desk: Desk) -> None:
    in_rows = {" ".join(row[:2]) if row[0] in GROUPS else row[0] for row in ROWS}

    assert {f"{command.group} {command.name}".strip() for command in desk.commands} == in_rows | OWN.keys()


def test_omitted_commands_are_unknown(desk: Desk) -> None:
    names = {name for command in desk.commands if not command.group for name in (command.name, *command.aliases)}

    assert names & OMITTED.keys() == set()
