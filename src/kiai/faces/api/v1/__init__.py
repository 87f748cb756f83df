"""Version 1: the Bancho.PY API v4.3.2 and what its clients call beside it."""
