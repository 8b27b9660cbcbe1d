"""Everything that looks at the disk to record events."""
