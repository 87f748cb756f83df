"""Version 2: the same data in a uniform envelope of `status`, `data` and `meta`."""
