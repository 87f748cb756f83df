"""The web site: server-rendered pages on the bare host."""
