"""Merging: from the observations of many crystals to one list of reflections, and what it is worth."""
