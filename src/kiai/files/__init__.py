"""Files: replays, .osu files, avatars and screenshots, by keys of our own making."""
