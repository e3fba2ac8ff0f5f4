"""Executors: in this process, or in supervised worker processes."""
