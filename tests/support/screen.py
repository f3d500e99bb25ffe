"""A screen that shows what a terminal would, for the few sequences that the chat writes."""

import re
import unicodedata

_SEQUENCE = re.compile(r"\x1b(?:\[([0-9;?]*)([A-Za-z])|([D78]))|(.)", re.DOTALL)


class Screen:
    """Knows line feeds, carriage returns, IND, CUU, EL, DECSC and DECRC; refuses others."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.columns, self.rows = columns, rows
        self._cells = [[""] * columns for _ in range(rows)]
        self._scrolled: list[str] = []
        self._row = self._column = 0
        self._saved = 0, 0

    def write(self, text: str) -> None:
        """As a terminal gets it: a new line is CR LF."""
        for parameter, letter, short, character in _SEQUENCE.findall(text):
            match letter or short or character:
                case "A" if letter and not parameter:
                    self._row = max(0, self._row - 1)
                    self._forget_wrap()
                case "K" if letter and not parameter:
                    row = self._cells[self._row]
                    row[self._column :] = [""] * (self.columns - self._column)
                case "D" if short:
                    self._down()
                case "7" if short:
                    self._saved = self._row, self._column
                case "8" if short:
                    self._row, self._column = self._saved
                case "\r":
                    self._column = 0
                case "\n":
                    self._down()
                case _ if character and character.isprintable():
                    self._put(character)
                case unknown:
                    raise AssertionError(f"the chat wrote {unknown!r} ({parameter!r}) in {text!r}")

    @property
    def lines(self) -> list[str]:
        """All rows, with those that have left at the top; without empty ones at the end."""
        rows = [*self._scrolled, *map(_text, self._cells)]
        while rows and not rows[-1]:
            del rows[-1]
        return rows

    def _forget_wrap(self) -> None:
        """The next character would begin a new row; a cursor that moves forgets that."""
        self._column = min(self._column, self.columns - 1)

    def _down(self) -> None:
        self._forget_wrap()
        if self._row < self.rows - 1:
            self._row += 1
        else:
            self._scrolled.append(_text(self._cells.pop(0)))
            self._cells.append([""] * self.columns)

    def _put(self, character: str) -> None:
        width = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if self._column + width > self.columns:
            self._column = 0
            self._down()
        row = self._cells[self._row]
        row[self._column : self._column + width] = [character, *["\0"] * (width - 1)]
        self._column += width


def _text(row: list[str]) -> str:
    return "".join(cell or " " for cell in row).replace("\0", "").rstrip()
