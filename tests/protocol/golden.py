"""The protocol's messages as recorded when its version was last incremented."""

import json
from pathlib import Path
from typing import Any

from protocol import PROTOCOL_VERSION
from protocol.codec import vocabulary

FILE = Path(__file__).with_name("golden.json")


def current() -> dict[str, Any]:
    return {"version": PROTOCOL_VERSION, "messages": vocabulary()}


def remembered() -> dict[str, Any]:
    golden: dict[str, Any] = json.loads(FILE.read_text())
    return golden


def remember() -> None:
    FILE.write_text(json.dumps(current(), indent=1) + "\n")
