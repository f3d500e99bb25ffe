"""The sentences, in the YAML files of this folder, each read once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).parent


@cache
def read(name: str) -> dict[str, Any]:
    """The contents of `<name>.yaml`."""
    text = (_FOLDER / f"{name}.yaml").read_text("utf-8")
    loaded: dict[str, Any] = yaml.CSafeLoader(text).get_single_data()
    return loaded


def listed(name: str) -> list[str]:
    """The words of one list of words.yaml."""
    return str(read("words")[name]).split()
