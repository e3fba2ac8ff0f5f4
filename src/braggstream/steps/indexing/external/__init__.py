"""Indexing by programs that are installed beside this one: DirAx, MOSFLM, XDS and Felix.

Each is a file of input in that program's language, and one of output that is understood; `program` runs them.
"""
