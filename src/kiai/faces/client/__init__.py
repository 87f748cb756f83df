"""The game client's web endpoints: everything that the game requests over HTTP except the realtime protocol."""
