"""The engine beside llama-server and llama_cpp.server."""
