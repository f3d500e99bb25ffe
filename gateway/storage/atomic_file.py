"""Replace a file atomically, keep its last version, and move a damaged one aside."""

import os
from contextlib import suppress
from pathlib import Path

MAX_KEPT_ASIDE = 9


def backup(path: Path) -> Path:
    return path.with_name(path.name + ".bak")


def keep_aside(path: Path) -> Path | None:
    """Rename a damaged file; its new name, or None when it cannot be moved.

    Up to MAX_KEPT_ASIDE are kept; then the newest takes the last name.
    """
    candidates = [path.with_name(f"{path.name}.corrupt-{n}") for n in range(1, MAX_KEPT_ASIDE + 1)]
    free = (candidate for candidate in candidates if not os.path.lexists(candidate))
    aside = next(free, candidates[-1])
    try:
        os.replace(path, aside)
    except OSError:
        return None
    return aside


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file, and sync it: a power cut leaves the old file or the new one.

    The previous version stays as `backup(path)`. Raise OSError, with nothing changed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        _keep_backup(path)
        os.replace(new, path)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise
    # The file is replaced; without a sync of the folder a power cut may undo that.
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _keep_backup(path: Path) -> None:
    """Hard-link the current file as backup; without one where links do not work."""
    link = path.with_name(path.name + ".bak.new")
    with suppress(OSError):
        link.unlink(missing_ok=True)
        os.link(path, link)
        os.replace(link, backup(path))
