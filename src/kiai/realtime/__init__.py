"""Shared state that need not survive: sessions, topics, open matches, ranks, rate limits.

`port.py` defines the interface and its promises. Only the composition root (`kiai/stores.py`) chooses an adapter.
"""
