"""Reading what strangers send: pictures, archives of sets and frames of replays, in processes that can be killed.

`decoder.py` is the side of the server, `process.py` that of the processes. The other modules are what runs in these,
and import no more of kiai than that needs.
"""
