"""What is Pebble? The small demonstration model that the server ships, and what makes it.

Nothing of the server imports this package; its dependencies are the extra `model`.
"""
