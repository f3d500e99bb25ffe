"""Benchmark of the `llama_cpp` engine against llama-server and llama_cpp.server."""
