"""Times as they are stored."""

_MAX = 2**63 - 1


def storable_ns(time_ns: int) -> int:
    """Clamp a time in nanoseconds to 64 bits: tmpfs keeps seconds of 64 bits."""
    return time_ns if -_MAX <= time_ns <= _MAX else max(-_MAX, min(time_ns, _MAX))
