"""Path and size limit of the GGUF file that the server ships."""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path(__file__).parents[1] / "bindings" / "llama_cpp" / "models" / "pebble-f16.gguf"
LIMIT = 8_000_000  # bytes; the repository carries the file
