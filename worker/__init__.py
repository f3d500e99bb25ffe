"""A worker: one process that runs one binding and holds one model."""
