"""What is true only now: who is online, which matches are open, who ranks where, who asked too often.

`port.py` has the promises; the adapters are plugged in by the composition root alone.
"""
