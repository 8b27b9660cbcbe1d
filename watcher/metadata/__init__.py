"""Hash, type, dimensions and duration of files, computed in processes that may crash or hang."""
