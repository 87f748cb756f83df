"""Entry: registration, logins on the website, second factors, links in mails, and the history of an account's security.

Writes the tables `invites`, `account_tokens`, `authenticators`, `recovery_codes`, `passkeys` and `account_events`.
"""

from kiai.entry.model import AccountBanned, Change, Origin
from kiai.entry.services import EntryServices

__all__ = ["AccountBanned", "Change", "EntryServices", "Origin"]
