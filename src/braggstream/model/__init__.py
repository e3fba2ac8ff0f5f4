"""The nouns of the field: geometry, frame, peaks, cell, crystal, reflections, results and settings."""
