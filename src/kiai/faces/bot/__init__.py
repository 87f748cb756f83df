"""The commands of the bot: each handler gets typed arguments, calls a service and returns lines of chat."""
