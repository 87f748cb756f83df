"""Calls the generated Python client, `kiai_client`. The arguments are the base address and an API key."""

import json
import sys
from io import BytesIO

from httpx import Timeout
from kiai_client import AuthenticatedClient, Client
from kiai_client.api.account import set_avatar, set_player_info
from kiai_client.api.maps import calculate_pp
from kiai_client.api.players import get_player_info, get_player_scores
from kiai_client.api.scores import get_replay
from kiai_client.api.v2_maps import get_v2_maps
from kiai_client.api.v2_players import get_v2_players_id
from kiai_client.models import Changes, Failure, GetPlayerInfoScope, GetPlayerScoresScope, SetAvatarBody
from kiai_client.types import File

base, key = sys.argv[1:]
client = Client(base_url=base, timeout=Timeout(60))
authenticated = AuthenticatedClient(base_url=base, token=key, timeout=Timeout(60))

info = get_player_info.sync(client=client, id=8, scope=GetPlayerInfoScope.ALL)
scores = get_player_scores.sync(
    client=client, id=8, scope=GetPlayerScoresScope.BEST, limit=2, include_loved=True, include_failed=False
)
refused = get_player_scores.sync_detailed(client=client, id=8, scope=GetPlayerScoresScope.BEST, limit=500)
replay = get_replay.sync(client=client, id=63, include_headers=True)
performance = calculate_pp.sync(client=authenticated, id=900_003, acc=[99.5, 98.0])
player = get_v2_players_id.sync(client=client, id="Frotol")
maps = get_v2_maps.sync(client=client, frozen=True, page_size=3)
changed = set_player_info.sync(client=authenticated, body=Changes(play_style=6))
with open(sys.argv[0].replace("use_client.py", "avatar.png"), "rb") as picture:
    body = SetAvatarBody(avatar=File(payload=BytesIO(picture.read()), file_name="me.png", mime_type="image/png"))
pictured = set_avatar.sync(client=authenticated, body=body)

assert isinstance(refused.parsed, Failure)
print(
    json.dumps(
        {
            "name": info.player.info.name,
            "scores": len(scores.scores),
            "refused": [refused.status_code, refused.parsed.status],
            "replay": len(replay.payload.read()),
            "worth": [result.performance.pp > 0 for result in performance],
            "player": player.data.name,
            "maps": [beatmap.frozen for beatmap in maps.data],
            "style": changed.player.info.play_style,
            "pictured": pictured.status,
        }
    )
)
