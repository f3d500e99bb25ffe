"""Bindings: each folder here is one; `--bindings_path` selects another place for them."""
