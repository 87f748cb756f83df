"""Chat: channels, private messages, mail and the bot's parser.

Owns the tables `channels`, `chat_lines`, `chat_erasures`, `chat_filters` and `mail`.
"""

from kiai.chat.channels import Channel, Channels
from kiai.chat.filtering import WordFilter
from kiai.chat.history import ChannelHistory
from kiai.chat.journal import Journal
from kiai.chat.mail import Mail
from kiai.chat.model import BotReply, OnMessage, Silence
from kiai.chat.service import Chat

__all__ = [
    "BotReply",
    "Channel",
    "ChannelHistory",
    "Channels",
    "Chat",
    "Journal",
    "Mail",
    "OnMessage",
    "Silence",
    "WordFilter",
]
