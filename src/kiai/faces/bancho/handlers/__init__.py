"""One handler a packet: names who asks, calls one verb of a subject, and writes what the asker alone is told."""
