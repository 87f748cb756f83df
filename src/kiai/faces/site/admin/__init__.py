"""The admin panel (`/admin`): the pages of staff. They are in English, like the audit log, the bot and the log."""
