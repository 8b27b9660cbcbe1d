"""Thumbnails and media facts, made by worker processes that may crash."""
