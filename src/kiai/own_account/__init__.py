"""Acts of players on their own accounts: settings, names, keys, friends, exports and deletion.

Each change of an account writes an audit row in its transaction, with the values before and after. The caller has
authenticated the player.
"""

from kiai.own_account.deletion import Deletion
from kiai.own_account.exports import Exports
from kiai.own_account.friendships import Friendships
from kiai.own_account.keys import OwnKeys
from kiai.own_account.names import NameChanges
from kiai.own_account.overwriting import Overwriting
from kiai.own_account.profile import ProfileSettings

__all__ = ["Deletion", "Exports", "Friendships", "NameChanges", "Overwriting", "OwnKeys", "ProfileSettings"]
