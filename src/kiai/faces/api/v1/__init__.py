"""Version 1: the Bancho.PY API v4.3.2, and further endpoints that its clients call."""
