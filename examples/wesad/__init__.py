"""Stress and emotion on WESAD: from wrist and chest signals to encrypted answers.

Run it from the root of the repository: `python -m examples.wesad --help`.
"""
