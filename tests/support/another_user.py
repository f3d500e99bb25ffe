"""Run a program as a user who is not root, though the tests may run as root."""

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.fake_gateway import ROOT

NOBODY = 65534
POSSIBLE = os.getuid() != 0 or bool(shutil.which("setpriv") and shutil.which("unshare"))


def as_another_user(command: list[str], spare: Path) -> list[str]:
    """The command, as nobody if this is root. In a mount namespace of its own, what leads to
    Python and to the checkout is open to everybody; `spare` is an empty folder for that."""
    if os.getuid():
        return command
    needed = [Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT.resolve()]
    lines = ["set -e"]
    for number, path in enumerate(needed):
        closed = [each for each in reversed(path.parents) if not each.stat().st_mode & 0o001]
        if closed:
            kept = shlex.quote(str(spare / str(number)))
            path_text, closed_text = shlex.quote(str(path)), shlex.quote(str(closed[0]))
            lines += [
                f"mkdir {kept}", f"mount --bind {path_text} {kept}",
                f"mount -t tmpfs -o mode=755 none {closed_text}", f"mkdir -p {path_text}",
                f"mount --bind {kept} {path_text}", f"umount {kept}",
            ]  # fmt: skip
    lines.append(
        f"exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups {shlex.join(command)}"
    )
    return ["unshare", "-m", "sh", "-c", "\n".join(lines)]


@contextmanager
def folder_of_another_user() -> Iterator[Path]:
    """An empty folder that `give_to_another_user` can make reachable for him."""
    with tempfile.TemporaryDirectory(prefix="lollms-test-", dir="/tmp") as name:
        yield Path(name).resolve()


def give_to_another_user(folder: Path) -> None:
    """All that is in it."""
    if os.getuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.lchown(path, NOBODY, NOBODY)
