"""The catalogue of bindings and their models. Imports no binding.

A binding is a folder with a `binding_card.yaml`. Its models are those that its
`models.yaml` names, and the files in `<models>/<binding>/` and in the folder
`models/` of the binding itself.
"""

import logging
import os
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.errors import ModelNotFound
from gateway.models.listing import Elsewhere, flat, listed, named_models
from gateway.storage import untrusted_yaml
from gateway.storage.folder_cache import (
    Defect,
    Defects,
    FolderCache,
    Signature,
    signature,
    unchanged,
)
from gateway.storage.untrusted_files import inside, is_plain, kind
from gateway.validation import shown
from protocol.binding_card import CARD, MAX_CARD_BYTES
from protocol.model_files import is_model

log = logging.getLogger(__name__)

MODELS = "models.yaml"
ON_REQUEST = "on_request"
"""A file that hides its binding, unless the config file names that binding."""


@dataclass(frozen=True, slots=True)
class _Cards:
    signature: Signature
    card: dict[str, Any]
    models: list[dict[str, Any]]
    """The entries of `models.yaml`, safe to send."""


@dataclass(frozen=True, slots=True)
class _Binding:
    cards: _Cards
    files: dict[str, Path] = field(default_factory=dict)
    """Local models: name to real path."""
    sizes: dict[str, int] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    """Entries that cannot be models: name to what it is instead."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    bindings: dict[str, _Binding]
    defects: frozenset[Defect]
    readable: bool


class Catalog:
    """Each method reads the current state of the folders."""

    def __init__(
        self,
        bindings_path: Path,
        models_path: Path,
        configured: Collection[str] = (),
        elsewhere: Callable[[str], Elsewhere] = lambda binding: {},
    ) -> None:
        """`configured` are the bindings that the config file names. `elsewhere` returns the
        models of a binding that other machines have."""
        self._elsewhere = elsewhere
        self._configured = frozenset(configured)
        self._bindings_path = bindings_path
        self._models_path = models_path
        self._cache = FolderCache(self._read)

    def has_binding(self, name: str) -> bool:
        return name in self.binding_names()

    def binding_names(self) -> list[str]:
        """Sorted. Makes a few system calls, without a thread."""
        return [folder.name for folder in self._folders()]

    async def bindings(self) -> list[dict[str, Any]]:
        """The value of `bindings` in `bindings_list`; shared: leave it as it is.

        Raise ModelNotFound when the folder of the bindings itself cannot be read.
        """
        snapshot = await self._cache.get()
        if not snapshot.readable:
            raise ModelNotFound("the folder of the bindings cannot be read")
        return [
            {"name": name, "card": binding.cards.card, "models": binding.cards.models}
            for name, binding in snapshot.bindings.items()
        ]

    async def models(self, binding: str) -> list[dict[str, Any]]:
        """The value of `available_models`. Raise ModelNotFound for an unknown binding."""
        found = await self._binding(binding)
        return listed(found.cards.models, found.sizes, self._elsewhere(binding))

    async def check_model(self, binding: str, name: str) -> None:
        """Raise ModelNotFound if the model is neither here nor on another machine."""
        try:
            await self.find_model(binding, name)
        except ModelNotFound:
            if name not in self._elsewhere(binding):
                raise

    async def file_size(self, binding: str, name: str) -> int:
        """Bytes of the model's file; 0 for a model that has none here."""
        return (await self._binding(binding)).sizes.get(name, 0)

    async def find_model(self, binding: str, name: str) -> Path | None:
        """The model's file; None for a model that has none. Raise ModelNotFound."""
        found = await self._binding(binding)
        if name in found.files:
            return found.files[name]
        if name in found.unusable:
            raise ModelNotFound(f"the model {shown(name)} is {found.unusable[name]}")
        for model in listed(found.cards.models, {}):
            if model["title"] == name:
                if model["isInstalled"]:
                    return None
                raise ModelNotFound(f"the model {shown(name)} is not installed")
        raise ModelNotFound(f"the binding {binding} has no model named {shown(name)}")

    async def _binding(self, name: str) -> _Binding:
        snapshot = await self._cache.get()
        if name not in snapshot.bindings:
            raise ModelNotFound(f"there is no binding named {shown(name)}")
        return snapshot.bindings[name]

    def _folders(self) -> Iterator[Path]:
        root = self._bindings_path
        try:
            names = sorted(os.listdir(root))
        except OSError:
            return
        for name in names:
            card = root / name / CARD
            if (
                not name.startswith(".")
                and is_plain(name)
                and os.path.isfile(card)
                and inside(card, root)
                and (name in self._configured or not os.path.exists(root / name / ON_REQUEST))
            ):
                yield root / name

    def _read(self, before: _Snapshot | None) -> _Snapshot:
        """In a thread."""
        old, defects = {}, Defects(log)
        if before:
            old, defects = before.bindings, Defects(log, before.defects)
        found: dict[str, _Binding] = {}
        for folder in self._folders():
            name = folder.name
            signed = signature(folder / CARD, folder / MODELS)
            if name in old and unchanged(old[name].cards.signature, signed):
                cards = old[name].cards
                defects.keep(name)
            else:
                cards = _read_cards(folder, self._bindings_path, signed, defects)
            found[name] = _Binding(cards)
            # The models folder comes last, so that it overrides the binding's own folder.
            _find_files(folder / "models", found[name], defects)
            _find_files(self._models_path / name, found[name], defects)
        return _Snapshot(found, defects.all(), os.path.isdir(self._bindings_path))


def _read_cards(folder: Path, root: Path, signed: Signature, defects: Defects) -> _Cards:
    def content(name: str, limit: int) -> Any:
        if not inside(folder / name, root):
            return None  # not there, which is allowed, or a link to elsewhere
        try:
            return untrusted_yaml.load(folder / name, limit)
        except (OSError, untrusted_yaml.Unreadable) as error:
            defects.add(folder.name, f"its {name} cannot be used: {error}")
            return None

    card = content(CARD, MAX_CARD_BYTES)
    models = named_models(content(MODELS, untrusted_yaml.MAX_BYTES))
    return _Cards(signed, flat(card) if isinstance(card, dict) else {}, models)


def _find_files(folder: Path, binding: _Binding, defects: Defects) -> None:
    """Add the models of a folder. It may be a link itself, the files in it may not lead out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if not is_plain(entry.name) or not is_model(entry.name, binding.cards.card):
            continue
        real = inside(Path(entry.path), folder)
        if real is None:
            defects.add(entry.path, "a link that leads out of its folder is not used")
            continue
        try:
            status = real.stat()
        except OSError:
            continue  # gone meanwhile
        if not stat.S_ISREG(status.st_mode):
            binding.unusable[entry.name] = f"{kind(status.st_mode)}, not a file"
        elif not os.access(real, os.R_OK):
            binding.unusable[entry.name] = "a file that the server may not read"
        else:
            binding.files[entry.name], binding.sizes[entry.name] = real, status.st_size
            binding.unusable.pop(entry.name, None)
