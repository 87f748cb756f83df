"""Benchmarks: kiai against floors on the same machine, data and payload, in the same run."""
