"""Twins of kernels for CUDA devices: same file names and function names, the same results.

Nothing here touches a device when it is imported: a process that will be forked may import it, see `device`.
"""
