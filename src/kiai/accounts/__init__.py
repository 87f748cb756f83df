"""Accounts: users, passwords, logins and devices, API keys, friends and blocks, and the visibility of players.

Writes the tables `users`, `old_names`, `name_parts`, `api_keys`, `relationships`, `logins`, `client_hashes`,
`shared_devices` and the counter `users`.
"""

from kiai.accounts.api_keys import ApiKeys
from kiai.accounts.credentials import Credentials, TooManyGuesses
from kiai.accounts.login_records import HardwareMatch, LoginRecord, Logins
from kiai.accounts.model import BOT_ID, FIRST_PLAYER_ID, Account, ApiKey, Friend, Player, User
from kiai.accounts.passwords import Passwords
from kiai.accounts.relationships import Relationships
from kiai.accounts.service import Accounts
from kiai.accounts.visibility import EVERYBODY, Viewer, can_see, visible

__all__ = [
    "BOT_ID",
    "EVERYBODY",
    "FIRST_PLAYER_ID",
    "Account",
    "Accounts",
    "ApiKey",
    "ApiKeys",
    "Credentials",
    "Friend",
    "HardwareMatch",
    "LoginRecord",
    "Logins",
    "Passwords",
    "Player",
    "Relationships",
    "TooManyGuesses",
    "User",
    "Viewer",
    "can_see",
    "visible",
]
