"""Acts of staff on scores tell the players, also those who are offline."""

from tests.builders import World, a_map, a_play, a_player
from tests.staff.lines_kit import letters

from kiai.staff import OPERATOR


def test_an_offline_player_finds_each_act_as_mail(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    score = world.record(a_play(by=alice, on=song)).score_id

    world.run(world.wipes.hide_score(OPERATOR, score, "an edited replay"))
    world.run(world.wipes.unhide_score(OPERATOR, score, "a mistake"))
    world.run(world.wipes.wipe_user(OPERATOR, "alice", "shared account", mode=0))
    world.run(world.wipes.restore_user(OPERATOR, "alice", "appealed", mode=0))

    assert letters(world) == [
        (alice, f"Your score {score} was hidden by staff: an edited replay"),
        (alice, f"Your score {score} is visible again."),
        (alice, "Your scores in vn!std were hidden by staff: shared account"),
        (alice, "Your scores in vn!std are visible again."),
    ]
