"""LoLLMs' Socket.IO endpoints: parse a request, answer it, write to the client."""
