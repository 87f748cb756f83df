"""Version 2: the same data as pages with `data` and `meta`."""
