"""The nasfeed command: configuration, composition and one module for each command."""
