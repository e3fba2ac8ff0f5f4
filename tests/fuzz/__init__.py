"""Coverage-guided fuzzing of what decodes bytes from a socket."""
