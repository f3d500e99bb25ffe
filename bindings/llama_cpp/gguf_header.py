"""Read the metadata in the header of a GGUF file without loading the model.

Only scalars and strings are kept; tensors are not read. The file may be malicious, say
one that a client made somebody download, so every count is checked against the file's
size before it is used.
"""

import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from worker.binding import BindingError, ModelNotFound

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?",
    10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
STRING, ARRAY = 8, 9
MAX_STRING = 2**20
"""Bytes; a longer string, for example a chat template, is skipped."""

Value = int | float | bool | str


@dataclass(frozen=True, slots=True)
class Header:
    metadata: dict[str, Value]
    """Scalars and strings. An array of numbers is represented by its largest element, other
    arrays are left out."""
    size: int
    """Size of the file in bytes."""

    def number(self, key: str, default: int = 0) -> int:
        """A key of the architecture's own, as in `number("block_count")`."""
        value = self.metadata.get(f"{self.metadata.get('general.architecture', '')}.{key}")
        return int(value) if isinstance(value, int | float) else default


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def take(self, count: int) -> bytes:
        if count > self._size - self._file.tell():
            raise BindingError("the file is cut off inside its header")
        return self._file.read(count)

    def skip(self, count: int) -> None:
        if count > self._size - self._file.tell():
            raise BindingError("the file is cut off inside its header")
        self._file.seek(count, 1)

    def number(self, form: str) -> int | float:
        value: int | float = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def count(self) -> int:
        return int(self.number("<Q"))

    def string(self) -> str:
        length = self.count()
        if length > MAX_STRING:
            self.skip(length)
            return ""
        return self.take(length).decode(errors="replace")

    def value(self, kind: int) -> Value | None:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self._array()
        if kind not in SCALARS:
            raise BindingError(f"the file's header has an unknown type {kind}")
        return self.number(SCALARS[kind])

    def _array(self) -> Value | None:
        kind, count = int(self.number("<I")), self.count()
        if kind == STRING:
            for _ in range(count):
                self.skip(self.count())
            return None
        if kind not in SCALARS:
            raise BindingError(f"the file's header has an array of type {kind}")
        form = SCALARS[kind][1]
        if count > 4096:
            self.skip(count * struct.calcsize("<" + form))
            return None
        values = struct.unpack(f"<{count}{form}", self.take(count * struct.calcsize("<" + form)))
        return max(values, default=None)


def read(path: Path) -> Header:
    """Raise ModelNotFound if there is no file, BindingError with the reason if it is invalid."""
    try:
        # O_NONBLOCK: do not wait for a FIFO in place of the file; it is rejected below.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise BindingError(f"{path.name} is not a regular file")
            size = status.st_size
            reader = _Reader(file, size)
            if size < 24 or reader.take(4) != MAGIC:
                raise BindingError(f"{path.name} is not a GGUF file")
            version = int(reader.number("<I"))
            if version not in VERSIONS:
                raise BindingError(f"{path.name} has GGUF version {version}, not 2 or 3")
            reader.count()  # tensors
            metadata: dict[str, Value] = {}
            for _ in range(reader.count()):
                key = reader.string()
                value = reader.value(int(reader.number("<I")))
                if value is not None:
                    metadata[key] = value
            return Header(metadata, size)
    except FileNotFoundError:
        raise ModelNotFound(f"there is no file {path.name}") from None
    except BindingError as error:
        if path.name in str(error):
            raise
        raise BindingError(f"{path.name}: {error}") from None
    except OSError as error:
        raise BindingError(f"{path.name} cannot be read: {error.strerror}") from None
