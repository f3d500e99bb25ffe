"""Replace the file tree of this process by one that holds only what it needs.

Landlock does not restrict connections to Unix sockets that are files, wherever they
are: D-Bus, docker, ssh-agent. In the new tree there are none. It is a tmpfs with bind
mounts of the folders that the worker needs, at their own paths, and with the links
that lead to them. It needs a mount namespace and Linux 5.12.
"""

import ctypes
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from protocol.system_calls import libc_call, system_call

EMPTY_FOLDERS = ("/tmp", "/var/tmp", "/run", "/dev/shm")
DEVICE_LINKS = {
    "/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
}  # fmt: skip
_MOST_LINKS = 40
"""As in the kernel: a path with more links is a loop."""

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same on all architectures
_CLONE, _CLOEXEC = 1, os.O_CLOEXEC
_AT_FDCWD, _AT_RECURSIVE, _AT_EMPTY_PATH = -100, 0x8000, 0x1000
_FROM_EMPTY_PATH = 4
_ATTR_RDONLY, _ATTR_NOSUID = 1, 2
_MS_NOSUID, _MS_NODEV, _MNT_DETACH = 2, 4, 2


class _Attributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns"))


class Tree:
    """What the new tree will show. Reads the present tree, and changes nothing."""

    def __init__(self) -> None:
        self.links: dict[Path, str] = {}
        self._shown: dict[Path, bool] = {}

    def show(self, paths: Iterable[Path], *, writable: bool) -> None:
        """Paths that do not exist are ignored. Raise ValueError for `/`."""
        for path in paths:
            real = self._real(path)
            if real == Path("/"):
                raise ValueError("the binding may use the whole file tree")
            if real and real.exists():
                self._shown[real] = self._shown.get(real, False) or writable

    def mounts(self) -> dict[Path, bool]:
        """Real path to whether it is writable, folders before what is in them. What a mount of
        a folder shows already, with these rights, is left out."""
        mounts: dict[Path, bool] = {}
        for path, writable in sorted(self._shown.items()):
            above = [mounts[parent] for parent in path.parents if parent in mounts]
            if not above or (writable and not any(above)):
                mounts[path] = writable
        return mounts

    def _real(self, path: Path) -> Path | None:
        """The path without links, which are noted on the way. None if they are a loop."""
        done, left = Path("/"), _parts(path)
        followed = 0
        while left:
            part = left.pop()
            if part == "..":
                done = done.parent
                continue
            here = done / part
            try:
                target = os.readlink(here)
            except OSError:
                done = here
                continue
            followed += 1
            if followed > _MOST_LINKS:
                return None
            self.links[here] = target
            done = Path("/") if target.startswith("/") else done
            left += _parts(Path(target))
        return done


def enter(tree: Tree, hidden: Iterable[Path], place: Path, shared_memory: int = 0) -> None:
    """Make the tree the root of this process; the working directory stays.

    `hidden` are files in it that become empty. `place` is an existing folder, where the tree is
    built. `shared_memory` limits the private /dev/shm to so many MiB. Call it in a mount
    namespace of our own. On OSError the tree is as before.
    """
    here = Path.cwd()
    place = place.resolve()
    mounts = {path: _copy_of(path, writable) for path, writable in tree.mounts().items()}
    empty = {path.resolve(): _copy_of(Path("/dev/null"), False) for path in hidden}
    try:
        _mount_tmpfs(place, "mode=755")
        try:
            _fill(place, tree.links, {**mounts, **empty})
            size = f"size={shared_memory}m," if shared_memory else ""
            _mount_tmpfs(place / "dev/shm", f"{size}mode=1777")
            _inside(place, here).mkdir(parents=True, exist_ok=True)
            os.chdir(place)
            libc_call("pivot_root", b".", b".")
        except BaseException:
            os.chdir(here)
            libc_call("umount2", os.fsencode(place), _MNT_DETACH)
            raise
        libc_call("umount2", b".", _MNT_DETACH)  # the old tree
        os.chdir(here)
    finally:
        for descriptor in (*mounts.values(), *empty.values()):
            os.close(descriptor)


def sockets_beside(socket: Path) -> list[Path]:
    """Other Unix sockets in the folder of this one."""
    return [
        path
        for path in socket.parent.iterdir()
        if path.name != socket.name and stat.S_ISSOCK(path.lstat().st_mode)
    ]


def is_private(folder: Path) -> bool:
    """Whether nobody else can create files in it."""
    status = folder.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _fill(place: Path, links: Mapping[Path, str], mounts: Mapping[Path, int]) -> None:
    for name in EMPTY_FOLDERS:
        _inside(place, Path(name)).mkdir(parents=True, exist_ok=True)
    for path, descriptor in mounts.items():
        target = _inside(place, path)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                target.mkdir()
            else:
                target.touch()
        system_call(_MOVE_MOUNT, descriptor, b"", _AT_FDCWD, os.fsencode(target), _FROM_EMPTY_PATH)
    for path, destination in {**{Path(k): v for k, v in DEVICE_LINKS.items()}, **links}.items():
        link = _inside(place, path)
        if not os.path.lexists(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(destination)


def _copy_of(path: Path, writable: bool) -> int:
    """A descriptor of a mount of the path and all below it, not yet placed anywhere."""
    flags = _CLONE | _CLOEXEC | _AT_RECURSIVE
    descriptor = system_call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)
    attributes = _Attributes(_ATTR_NOSUID | (0 if writable else _ATTR_RDONLY), 0, 0, 0)
    try:
        system_call(
            _MOUNT_SETATTR, descriptor, b"", _AT_EMPTY_PATH | _AT_RECURSIVE,
            ctypes.byref(attributes), ctypes.sizeof(attributes),
        )  # fmt: skip
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _mount_tmpfs(place: Path, options: str) -> None:
    flags = _MS_NOSUID | _MS_NODEV
    libc_call("mount", b"tmpfs", os.fsencode(place), b"tmpfs", flags, options.encode())


def _inside(place: Path, path: Path) -> Path:
    return place / path.relative_to("/")


def _parts(path: Path) -> list[str]:
    """The names of a path, the last one first."""
    return [part for part in reversed(path.parts) if part != "/"]
