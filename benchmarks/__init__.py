"""Benchmarks of kiai against floors: the same machine, data and responses, measured in the same run."""
