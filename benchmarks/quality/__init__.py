"""Quality of indexing: `python -m benchmarks.quality` judges it against the truth on sets of simulated hits."""
