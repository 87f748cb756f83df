"""Chats with the package irc: joins #osu, answers one line there and one private line, and prints what it hears.

Arguments: port, nick, password.
"""

import sys
from typing import Any

import irc.bot  # type: ignore[import-not-found] # in the environment of tests/client_tools.py


class Client(irc.bot.SingleServerIRCBot):  # type: ignore[misc]
    """The client. It ends after it has heard a private line."""

    def on_welcome(self, connection: Any, event: Any) -> None:
        """Join a channel."""
        connection.join("#osu")

    def on_join(self, connection: Any, event: Any) -> None:
        """Say that it has joined."""
        if event.source.nick == connection.get_nickname():
            print("joined", event.target, flush=True)

    def on_endofnames(self, connection: Any, event: Any) -> None:
        """Print the operators of the channel."""
        print("staff", *sorted(self.channels["#osu"].opers()), flush=True)

    def on_pubmsg(self, connection: Any, event: Any) -> None:
        """Answer in the channel."""
        print("public", event.source.nick, event.arguments[0], flush=True)
        connection.privmsg(event.target, "heard you")

    def on_privmsg(self, connection: Any, event: Any) -> None:
        """Answer, and end."""
        print("private", event.source.nick, event.arguments[0], flush=True)
        connection.privmsg(event.source.nick, "heard you, too")
        self.die("bye")


port, nick, password = sys.argv[1:]
Client([irc.bot.ServerSpec("127.0.0.1", int(port), password)], nick, nick).start()
