"""Chat: channels, private messages, mail and the bot's parser.

Owns the tables `channels`, `chat_lines` and `mail`.
"""

from kiai.chat.channels import Channel, Channels
from kiai.chat.journal import Journal
from kiai.chat.mail import Mail
from kiai.chat.model import BotReply, OnMessage, Silence
from kiai.chat.service import Chat

__all__ = ["BotReply", "Channel", "Channels", "Chat", "Journal", "Mail", "OnMessage", "Silence"]
