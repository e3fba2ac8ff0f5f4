"""Benchmarks: `python -m benchmarks` measures every stage and the whole, in milliseconds and in plain passes."""
