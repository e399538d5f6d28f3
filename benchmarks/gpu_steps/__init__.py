"""The steps of `python -m benchmarks.gpu`, one a file, and what they share."""
