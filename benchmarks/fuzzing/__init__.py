"""Hostile input, target by target: what `python -m benchmarks.fuzz` and the tests run."""
