"""Argument words in, exit code out."""
