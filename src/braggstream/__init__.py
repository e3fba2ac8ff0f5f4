"""Braggstream: real-time serial crystallography."""

__version__ = "0.1.0"
