"""One request for a model, from its plan to its end."""
