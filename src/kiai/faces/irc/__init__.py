"""The IRC gateway (docs/operate/irc.md): IRC clients and tools of referees as players of the chat."""
