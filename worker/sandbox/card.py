"""What a binding's card asks for, and what of it the operator allows.

The author of a binding writes its card. The operator's configuration decides.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from protocol.binding_card import CARD, MAX_CARD_BYTES

_SHOWN_FOLDERS, _SHOWN_CHARACTERS = 4, 100
"""Limits of what is shown of a card, which may be long."""


@dataclass(frozen=True, slots=True)
class Permissions:
    network: bool = False
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()

    def only(self, allowed: Collection[str]) -> "Permissions":
        """Those whose names are in `allowed`."""
        return Permissions(
            self.network and "network" in allowed,
            self.reads if "reads" in allowed else (),
            self.writes if "writes" in allowed else (),
        )

    def folders(self) -> str:
        """Such as ", and reads /a, and writes /b"; "" without folders."""
        return "".join(f", and {text}" for name, text in self.named() if name != "network")

    def named(self) -> Iterator[tuple[str, str]]:
        """Name of each permission, and the same with its folders."""
        if self.network:
            yield "network", "network"
        for name, folders in (("reads", self.reads), ("writes", self.writes)):
            if folders:
                shown = ", ".join(each[:_SHOWN_CHARACTERS] for each in folders[:_SHOWN_FOLDERS])
                more = len(folders) - _SHOWN_FOLDERS
                yield name, f"{name} {shown}" + (f" and {more} more" if more > 0 else "")


def requested(folder: Path) -> Permissions:
    """What the card in a binding's folder asks for. A card that cannot be read asks for nothing."""
    card = read_card(folder)
    return Permissions(
        card.get("network") is True,
        tuple(map(str, _as_list(card.get("reads")))),
        tuple(map(str, _as_list(card.get("writes")))),
    )


def read_card(folder: Path) -> dict[str, Any]:
    """The card in a binding's folder; {} if it cannot be read."""
    try:
        with (folder / CARD).open("rb") as file:
            card = yaml.safe_load(file.read(MAX_CARD_BYTES))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return card if isinstance(card, dict) else {}


def answer(asked: Permissions, allowed: Collection[str], binding: str) -> str:
    """What is asked for, with the answer; "" if that is nothing."""
    granted = [text for name, text in asked.named() if name in allowed]
    refused = [text for name, text in asked.named() if name not in allowed]
    parts = [f"{', '.join(granted)}: allowed"] if granted else []
    if refused:
        parts.append(f"{', '.join(refused)}: not allowed; bindings.{binding}.allow in config.yaml")
    return f"asks for {'; '.join(parts)}" if parts else ""


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []
