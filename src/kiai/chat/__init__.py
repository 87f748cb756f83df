"""Chat: channels, private messages and mail, and what the bot hears of them.

Owns the tables `channels`, `chat_lines` and `mail`.
"""

from kiai.chat.channels import Channel, Channels
from kiai.chat.journal import Journal
from kiai.chat.mail import Mail
from kiai.chat.model import Answer, Hear, Silence
from kiai.chat.service import Chat

__all__ = ["Answer", "Channel", "Channels", "Chat", "Hear", "Journal", "Mail", "Silence"]
