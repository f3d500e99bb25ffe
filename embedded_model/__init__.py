"""What is Pebble? The small demonstration model that the server ships, and everything that makes it.

Nothing of the server imports this package; its dependencies are the extra `model`.
"""
