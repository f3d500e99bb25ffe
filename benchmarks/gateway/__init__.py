"""Benchmark of the gateway against other Socket.IO servers, with a worker that only streams."""
