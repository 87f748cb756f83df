"""Bancho, the realtime protocol of the game client, version 19: packets over HTTP (docs/spec/protocol.md)."""
