"""Benchmarks of eer, and of its peers where they are installed: `python -m benchmarks`."""
