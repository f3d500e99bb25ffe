"""One process, one binding, one model."""
