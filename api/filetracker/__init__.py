"""The Filetracker face: a versioned file store, protocol version 2."""
