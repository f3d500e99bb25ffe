"""What did a worker say before it died? One line of what it wrote to stderr, fit to be told.

A traceback ends with what went wrong; below what an abort says stands the interpreter's
own list of frames; and a worker that was killed from outside has only said what it
always says, which explains nothing.
"""

import os
import re
from pathlib import Path

from protocol.logs import level_and_text

TAIL = 8192
LONGEST = 160
FRESH = 2.0
"""Seconds. What was written longer before the end is of another life, or of another trouble."""

_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/:'\"]+/)+")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd]+")


def last_words(log: Path, ended: float) -> str:
    """Of the worker that wrote this file and ended at that time; "" when nothing explains it."""
    try:
        with log.open("rb") as file:
            status = os.fstat(file.fileno())
            if abs(ended - status.st_mtime) > FRESH:
                return ""
            file.seek(max(0, status.st_size - TAIL))
            return telling_line(file.read().decode(errors="replace"))
    except OSError:
        return ""


def telling_line(text: str) -> str:
    """The last line that says what went wrong, without control characters and folders."""
    before, aborted, after = text.rpartition("Fatal Python error: ")
    if aborted and not any(map(level_and_text, after.splitlines())):  # else of an earlier life
        text = before
    lines = [line for line in text.splitlines() if line.strip()]
    words = lines[-1] if lines else ""
    if ours := level_and_text(words):
        words = "" if ours[0] in ("DEBUG", "INFO") else ours[1]
    words = _UNSAFE.sub(" ", _FOLDERS.sub("", words)).strip()
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
