"""Files that strangers name or write: only regular ones that lie inside their folder.

Names come from clients and from zoos that somebody else packed. What is refused
here is answered like what does not exist, so that nobody learns about the rest
of the machine.
"""

import os
import stat
from pathlib import Path

MAX_NAME_BYTES = 255
"""What a file name can have on the file systems we run on."""


class NotAFile(OSError):
    """A directory, a FIFO, a device, a socket: nothing that can be read to its end."""


class NotPrivate(Exception):
    """Others can read a file that holds secrets. The text is one sentence for the operator."""


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
    """Where `path` really is, links followed; None when that is not in `root`, or nowhere.

    `root` itself may be a link: it was named by whoever runs the server.
    """
    try:
        real = path.resolve(strict=True)
        return real if real.is_relative_to(root.resolve(strict=True)) else None
    except (OSError, RuntimeError, ValueError):
        return None


def read_regular(path: Path, limit: int) -> bytes:
    """The whole content. A FIFO or a device is refused, never waited for.

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
    """What stands where a file was expected, for a sentence."""
    kinds = {
        stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFREG: "a regular file",
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(mode), "something else")
