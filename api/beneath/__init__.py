"""File access beneath one directory: what every face uses that reads or writes under a root."""
