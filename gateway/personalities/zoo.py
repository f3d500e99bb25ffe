"""The zoo: languages, categories, and personalities by their paths.

A personality is a folder with a config.yaml: two levels deep in a zoo without
languages, which is wrapped as `english`, three levels deep in one with them.
The folders are only read, and no code in them runs.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.errors import PersonalityNotFound
from gateway.personalities.personality import Personality, from_config
from gateway.storage import untrusted_yaml
from gateway.storage.folder_cache import (
    Defect,
    Defects,
    FolderCache,
    Signature,
    signature,
    unchanged,
)
from gateway.storage.untrusted_files import inside, is_plain
from gateway.validation import shown

log = logging.getLogger(__name__)

DEFAULT_LANGUAGE = "english"
LOGOS = ("gif", "webp", "png", "jpg", "jpeg", "bmp")
"""Suffixes of `assets/logo.`, the first one that is there wins."""


@dataclass(frozen=True, slots=True)
class _CachedFolder:
    """A folder as it was read; its personality is None if it could not be read."""

    signature: Signature
    personality: Personality | None


@dataclass(slots=True)
class _Snapshot:
    entries: dict[str, _CachedFolder] = field(default_factory=dict)
    by_path: dict[str, Personality] = field(default_factory=dict)
    avatars: dict[str, Personality] = field(default_factory=dict)
    listing: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    defects: frozenset[Defect] = frozenset()
    readable: bool = True


class Zoo:
    """Each method reads the current state of the folders."""

    def __init__(self, path: Path) -> None:
        self.root = path
        self._cache = FolderCache(self._read)

    async def listing(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """{language: {category: [entry]}}, sorted; shared: leave it as it is.

        Raise PersonalityNotFound when the zoo itself cannot be read.
        """
        snapshot = await self._cache.get()
        if not snapshot.readable:
            raise PersonalityNotFound("the folder of the personalities cannot be read")
        return snapshot.listing

    async def languages(self) -> list[str]:
        return list(await self.listing())

    async def categories(self, language: str | None = None) -> list[str]:
        """Without a language the union over all. Raise PersonalityNotFound for an unknown one."""
        listing = await self.listing()
        return sorted({name for each in _chosen(listing, language) for name in each})

    async def names(self, language: str | None, category: str) -> list[str]:
        """Folder names. Raise PersonalityNotFound for an unknown language or category."""
        listing = await self.listing()
        found = [each[category] for each in _chosen(listing, language) if category in each]
        if not found:
            raise PersonalityNotFound(f"there is no category named {shown(category)}")
        return sorted({entry["folder"] for entries in found for entry in entries})

    async def get(self, path: str) -> Personality:
        """By `category/name` or `language/category/name`. Raise PersonalityNotFound."""
        one = await self._find(lambda snapshot: snapshot.by_path.get(path))
        if one is None:
            raise PersonalityNotFound(f"there is no personality at {shown(path)}")
        return one

    async def get_all(self, paths: Sequence[str]) -> list[Personality | None]:
        """By their paths, None for unknown ones; the folders are read once for all of them."""
        known = self._cache.last
        found = [self._unchanged(known.by_path.get(path), known) for path in paths] if known else []
        if not known or None in found:
            known = await self._cache.get()
            found = [known.by_path.get(path) for path in paths]
        return found

    async def avatar(self, path: str) -> Path | None:
        """The file of a listed avatar, by its path relative to the zoo; None for all else."""
        one = await self._find(lambda snapshot: snapshot.avatars.get(path))
        return self.root / path if one else None

    async def _find(self, among: Callable[[_Snapshot], Personality | None]) -> Personality | None:
        """Called for each prompt and each avatar: a known one is checked with three system calls;
        the whole zoo takes a thousand."""
        known = self._cache.last
        one = self._unchanged(among(known), known) if known else None
        return one or among(await self._cache.get())

    def _unchanged(self, one: Personality | None, known: _Snapshot) -> Personality | None:
        """The one, if its folder is still as it was read."""
        if one and unchanged(known.entries[one.path].signature, self._sign(one.path)):
            return one
        return None

    def _sign(self, path: str) -> Signature:
        folder = f"{self.root}/{path}"
        return signature(folder, f"{folder}/config.yaml", f"{folder}/assets")

    def _read(self, before: _Snapshot | None) -> _Snapshot:
        """In a thread."""
        before = before or _Snapshot()
        defects = Defects(log, before.defects)
        entries: dict[str, _CachedFolder] = {}
        for path in _folders(str(self.root), defects):
            signed = self._sign(path)
            old = before.entries.get(path)
            if old and unchanged(old.signature, signed):
                entries[path] = old
                defects.keep(path)
            else:
                entries[path] = _CachedFolder(signed, _read_one(self.root, path, defects))
        if entries == before.entries:
            snapshot = before
            snapshot.defects = defects.all()
        else:
            snapshot = _build_snapshot(entries, defects.all())
        snapshot.readable = os.path.isdir(self.root)
        return snapshot


def _chosen(listing: dict[str, dict[str, Any]], language: str | None) -> list[dict[str, Any]]:
    if language is None:
        return list(listing.values())
    if language not in listing:
        raise PersonalityNotFound(f"there is no language named {shown(language)}")
    return [listing[language]]


def _build_snapshot(entries: dict[str, _CachedFolder], defects: frozenset[Defect]) -> _Snapshot:
    snapshot = _Snapshot(entries, defects=defects)
    for one in sorted(
        (each.personality for each in entries.values() if each.personality), key=_sort_key
    ):
        snapshot.listing.setdefault(one.language, {}).setdefault(one.category, []).append(
            one.listing_entry()
        )
        snapshot.by_path[one.path] = one
        if one.avatar:
            snapshot.avatars[one.avatar] = one
    for one in list(snapshot.by_path.values()):
        # Clients build the path from the listing, in which every zoo has languages.
        snapshot.by_path.setdefault(f"{one.language}/{one.category}/{one.folder}", one)
    return snapshot


def _sort_key(personality: Personality) -> tuple[str, str, str]:
    return personality.language, personality.category, personality.folder


def _folders(root: str, defects: Defects) -> Iterator[str]:
    """Folders of personalities, relative to the zoo."""
    for first in _subfolders(root, "", defects):
        for second in _subfolders(root, first, defects):
            if os.path.exists(f"{root}/{second}/config.yaml"):
                yield second
                continue  # what is deeper belongs to it
            for third in _subfolders(root, second, defects):
                if os.path.exists(f"{root}/{third}/config.yaml"):
                    yield third


def _subfolders(root: str, path: str, defects: Defects) -> list[str]:
    try:
        with os.scandir(f"{root}/{path}") as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        defects.add(path or root, error.strerror or "cannot be read")
        return []
    below = []
    for entry in found:
        name = f"{path}/{entry.name}" if path else entry.name
        # Not entry.is_dir(), which raises for a link that leads to itself.
        if entry.name.startswith(".") or not os.path.isdir(entry.path):
            continue
        if not is_plain(entry.name):
            defects.add(ascii(name), "such a name cannot be sent to clients")
        elif entry.is_symlink() and inside(Path(entry.path), Path(root)) is None:
            defects.add(name, "the link leads out of the zoo")
        else:
            below.append(name)
    return below


def _read_one(root: Path, path: str, defects: Defects) -> Personality | None:
    folder, parts = root / path, path.split("/")
    config = inside(folder / "config.yaml", root)
    if config is None:
        defects.add(path, "the link to its config.yaml leads out of the zoo")
        return None
    try:
        content = untrusted_yaml.load(config)
    except (untrusted_yaml.Unreadable, OSError) as error:
        defects.add(path, f"its config.yaml cannot be used: {error}")
        return None
    if not isinstance(content, dict):
        defects.add(path, "its config.yaml cannot be used: it holds no fields")
        return None
    personality, wrong = from_config(
        content,
        path=path,
        language=parts[0] if len(parts) == 3 else DEFAULT_LANGUAGE,
        category=parts[-2],
        folder=parts[-1],
        has_scripts=os.path.isdir(folder / "scripts") and _is_inside(folder / "scripts", root),
        avatar=_logo(folder, path, root),
    )
    for reason in wrong:
        defects.add(path, reason)
    return personality


def _logo(folder: Path, path: str, root: Path) -> str:
    for suffix in LOGOS:
        logo = folder / "assets" / f"logo.{suffix}"
        if os.path.isfile(logo) and _is_inside(logo, root):
            return f"{path}/assets/logo.{suffix}"
    return ""


def _is_inside(path: Path, root: Path) -> bool:
    return inside(path, root) is not None
