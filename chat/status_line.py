"""A status line at the end of the output, which is replaced, and erased before other text.

In the middle of a line of text, the status stands in the row below, and the cursor returns
to the text afterwards.
"""

import os
import unicodedata
from typing import TextIO

ERASE = "\r\x1b[K"
"""Go to the start of the row, and erase it."""
BELOW = "\x1bD\x1b[A\x1b7\n"
"""Make room for a row below, scrolling if needed, save the position, and go to that row."""
BACK = "\x1b8"
"""Return to the saved position."""


class StatusLine:
    """Shows nothing if `out` is no terminal. Between `begin` and `end`, write to it only by
    `write`, or call `erase` before."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.usable = out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        """It can be shown."""
        self._active = False
        self._shown = ""
        self._column = 0  # cells of text since the last line break, but for tabs

    def begin(self) -> None:
        """From now on, it may be shown. The cursor is at the start of a row."""
        self._active, self._column = self.usable, 0

    def end(self) -> None:
        self.erase()
        self._active = False

    def write(self, text: str) -> None:
        """Write text that stays."""
        self.erase()
        self._out.write(text)
        self._out.flush()
        _, line_break, last = text.rpartition("\n")
        self._column = (0 if line_break else self._column) + sum(map(_cells, last))

    def show(self, text: str) -> None:
        """Replace the status by this one, which is one line; "" erases it."""
        if not self._active or text == self._shown:
            return
        if not text:
            return self.erase()
        columns = self._columns()
        if not self._shown and self._column:
            if self._column % columns:
                self._out.write(BELOW)
            else:  # the row is full: terminals forget that when the cursor moves
                self.write("\n")
        self._out.write(ERASE + _fitting(text, columns))
        self._out.flush()
        self._shown = text

    def erase(self) -> None:
        if self._shown:
            self._out.write(ERASE + (BACK if self._column else ""))
            self._out.flush()
            self._shown = ""

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._out.fileno()).columns or 80
        except OSError:
            return 80


def _fitting(text: str, columns: int) -> str:
    """As much of it as fits into one row; the last column stays free."""
    used = 0
    for at, character in enumerate(text):
        used += _cells(character)
        if used >= columns:
            return text[:at]
    return text


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
