"""The realtime protocol of the game client, bancho, version 19: packets over HTTP (docs/spec/protocol.md)."""
