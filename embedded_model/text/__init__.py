"""Generator of Pebble's training text; the same seed gives the same text."""
