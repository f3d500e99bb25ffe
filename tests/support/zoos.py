"""Zoos for tests: folders of personalities that are created when needed."""

import hashlib
import os
import time
from pathlib import Path

CONFIG = """\
name: {name}
personality_description: |
  Does things.
author: somebody
version: 1.0
personality_conditioning: "Act."
user_message_prefix: "\\n!@>user: "
ai_message_prefix: "!@>ai:\\n"
link_text: "\\n"
anti_prompts: ["!@>", ""]
model_temperature: 0.6
model_top_k: 50
model_n_predicts: 8192
"""


def add(zoo: Path, path: str, config: str | bytes | None = None, logo: str = "") -> Path:
    folder = zoo / path
    folder.mkdir(parents=True, exist_ok=True)
    content = CONFIG.format(name=folder.name) if config is None else config
    data = content.encode(errors="replace") if isinstance(content, str) else content
    (folder / "config.yaml").write_bytes(data)
    if logo:
        (folder / "assets").mkdir(exist_ok=True)
        (folder / "assets" / logo).write_bytes(b"\x89PNG picture of " + folder.name.encode())
    return folder


def settle(zoo: Path) -> None:
    """Wait until the file system's clock has advanced: a later change gets another time."""
    while True:
        newest = max(os.lstat(path).st_ctime_ns for path in [zoo, *zoo.rglob("*")])
        if time.time_ns() - newest > 60_000_000:
            return
        time.sleep(0.005)


def digest(folder: Path) -> str:
    """Hash of names, contents, modes and times of everything in the folder."""
    state = [
        (str(path), path.lstat().st_mode, path.lstat().st_mtime_ns,
         path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    ]  # fmt: skip
    return hashlib.sha256(repr(state).encode()).hexdigest()
