"""Write the embedded model with a longer context, so that an answer lasts."""

import struct
from pathlib import Path

from protocol.run_folder import CHECKOUT

PEBBLE = CHECKOUT / "bindings" / "llama_cpp" / "models" / "pebble-f16.gguf"
CONTEXT = 16_384
"""Tokens. The embedded model's own 1,024 are over in a second, whether anybody reads or not."""
UINT32 = struct.pack("<I", 4)
"""GGUF's type of the value."""


def write(path: Path) -> Path:
    """The text beyond the model's own context is nonsense, at the usual speed."""
    data = PEBBLE.read_bytes()
    key = b"llama.context_length" + UINT32
    before, found, after = data.partition(key)
    assert found, "the model has no context length"
    path.write_bytes(before + key + struct.pack("<I", CONTEXT) + after[4:])
    return path
