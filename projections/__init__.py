"""Folds of the log: what the events add up to, and the questions that can be asked of it."""
