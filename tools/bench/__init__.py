"""Measures nasfeed beside its nearest peers, in one run on one tree: `python -m tools.bench`."""
