"""Access untrusted files: regular ones that lie inside their folder, and no others.

Names come from clients, and from zoos and bindings of others. A refused file is answered like
a missing one, so that nobody learns about other files of the machine.
"""

import os
import stat
from pathlib import Path

MAX_NAME_BYTES = 255
"""The limit of common file systems."""


class NotAFile(OSError):
    """A directory, FIFO, device or socket: not a regular file."""


class NotPrivate(Exception):
    """A file with secrets that other users can read. The text is a sentence for the operator."""


def check_private(path: Path) -> None:
    """Raise NotPrivate, or OSError when the file is not there."""
    status = os.stat(path)
    if status.st_uid not in (os.getuid(), 0):
        raise NotPrivate(f"{path} holds secrets and belongs to another user")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise NotPrivate(f"{path} holds secrets and others can read it: chmod 600 {path}")


def is_plain(name: str) -> bool:
    """Whether it is one component of a path, and can be sent to clients as text."""
    if not name or name in (".", "..") or any(c in name for c in "/\\\0"):
        return False
    try:
        return len(name.encode()) <= MAX_NAME_BYTES
    except UnicodeEncodeError:  # bytes that are not UTF-8 come as lone surrogates
        return False


def inside(path: Path, root: Path) -> Path | None:
    """The real path, with links resolved; None when it is outside `root` or does not exist.

    `root` itself may be a link: the operator has set it.
    """
    try:
        real = path.resolve(strict=True)
        return real if real.is_relative_to(root.resolve(strict=True)) else None
    except (OSError, RuntimeError, ValueError):
        return None


def read_regular(path: Path, limit: int) -> bytes:
    """The whole content. A FIFO or a device is refused without blocking.

    Raise OSError: NotAFile, or EFBIG when there is more than `limit` bytes.
    """
    # Nothing is truncated or created; O_NONBLOCK makes the open of a FIFO return.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotAFile(f"{kind(status.st_mode)}, not a regular file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(f"longer than {limit:,} bytes")
    return content


def kind(mode: int) -> str:
    """The kind of a file, as a noun for an error sentence."""
    kinds = {
        stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFREG: "a regular file",
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(mode), "something else")
