"""The command line: each command calls the same domain methods as the faces."""
