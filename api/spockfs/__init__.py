"""SpockFS: the files beneath roots as a filesystem over plain HTTP methods and header fields."""
