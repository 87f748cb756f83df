"""Decoding of untrusted files: pictures, archives of sets and frames of replays, in processes that can be killed.

The server uses `decoder.py`. The processes run `process.py` and the other modules, which import as little of kiai as
possible: an import costs memory in each process.
"""
