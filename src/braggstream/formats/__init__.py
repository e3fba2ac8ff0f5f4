"""Bytes and files to the model and back: one file a format."""
