"""What the game client asks for over HTTP: so far its pictures."""
