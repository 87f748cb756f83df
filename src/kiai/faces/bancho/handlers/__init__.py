"""One handler per packet: calls one method of a service as the session's player, and writes the replies to it."""
