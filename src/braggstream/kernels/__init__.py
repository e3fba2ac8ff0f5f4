"""Loops over arrays: the ground floor.

Kernels know nothing of files, settings or errors.  They take contiguous NumPy arrays and scalars, write into
arrays that the caller allocated, and return counts.  Nothing here raises, logs or allocates per pixel.
"""
