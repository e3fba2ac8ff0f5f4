"""Benchmarks: `python -m benchmarks` measures every stage and the whole, in milliseconds and in plain passes."""

import os

# One thread of linear algebra, as workers have; before NumPy is imported.
os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
