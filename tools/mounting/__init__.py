"""Mounts a server's filesystem: it knows the wire and nothing of the server."""
