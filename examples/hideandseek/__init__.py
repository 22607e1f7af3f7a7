"""Emotional workload in call centres: the Hide-and-Seek study, answered on encrypted features.

Run it from the root of the repository: `python -m examples.hideandseek --help`.
"""
