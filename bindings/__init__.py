"""A folder here is a binding; `--bindings_path` names another place for them."""
