"""Pebble, the small demonstration model that the server ships, and its training.

The server never imports this package; its dependencies are the extra `model`.
"""
