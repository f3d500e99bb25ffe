"""The catalogue of bindings and models, and how a model is listed."""
