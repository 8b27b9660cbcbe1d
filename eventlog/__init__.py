"""The append-only log of everything that happened to the files under the roots."""
