"""The file store: replays, `.osu` files, avatars and screenshots under keys that the server generates."""
