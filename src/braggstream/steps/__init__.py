"""The science: settings and model in, model out."""
