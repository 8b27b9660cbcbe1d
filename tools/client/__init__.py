"""A client of the feed for any Python program: it knows the wire and the standard library only."""
