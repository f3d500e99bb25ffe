"""A small client for the terminal."""
