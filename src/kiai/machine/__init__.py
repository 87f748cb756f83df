"""Checks of the machine and the network that a server uses, for `kiai init` and `kiai doctor --network`.

`facts.py` reads the facts: DNS, ports, clock, disk, limits, certificate. `checks.py` evaluates them without reading
anything. `unit.py` writes the systemd unit, `open_files.py` raises the limit of open files.
"""
