"""Which files of a folder are models, and which names of files may be sent and shown."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

NOT_MODELS = frozenset(
    {".yaml", ".yml", ".md", ".txt", ".json", ".sha256", ".part", ".tmp", ".py", ".pyc"}
)
"""Suffixes of files that are no models, for bindings whose card has no `extensions`."""
MAX_NAME_BYTES = 255
"""The limit of common file systems."""


def is_model(name: str, card: Mapping[str, Any]) -> bool:
    """Whether a file of this name counts as a model of the binding with this card."""
    if name.startswith("."):
        return False
    suffix = PurePath(name).suffix.lower()
    extensions = card.get("extensions")
    if isinstance(extensions, list):
        return suffix in [str(each).lower() for each in extensions]
    return suffix not in NOT_MODELS


def may_be_listed(name: str) -> bool:
    """Whether a worker may list it in its Hello: one component of a path, and one line of text."""
    return (
        name.isprintable()
        and not name.startswith(".")
        and 0 < len(name.encode()) <= MAX_NAME_BYTES
        and not any(character in name for character in "/\\")
    )
