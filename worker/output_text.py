"""Which text may go out now? UTF-8 repaired, stop strings found, what the client has left out.

Pure, and linear in the text whatever the pieces and the stop strings are: each
stop string is looked for by Knuth, Morris and Pratt, because a client chooses
both sides of the comparison.
"""

import codecs
from collections.abc import Iterable

_decoder = codecs.getincrementaldecoder("utf-8")


class Text:
    """One generation's text on its way out.

    A stop string counts as met where it is complete: of several, the one that
    ends first. So the result does not depend on how the text was cut in pieces.
    """

    __slots__ = ("_bytes", "_held", "_searches", "_skip", "_whole", "stopped")

    def __init__(self, stop: Iterable[str] = (), skip: int = 0) -> None:
        self.stopped = False
        """A stop string was met: nothing after it matters."""
        self._bytes = _decoder("replace")
        self._whole = True  # no character has begun and not ended
        self._searches = [_Search(wanted) for wanted in dict.fromkeys(stop) if wanted]
        self._held = ""
        self._skip = skip

    def feed(self, piece: str | bytes) -> str:
        """Take a piece; return what became certain by it, "" included."""
        if isinstance(piece, bytes):
            if self._whole and piece.isascii():  # most are, and a decoder costs more than this
                piece = piece.decode("ascii")
            else:
                piece = self._bytes.decode(piece)
                self._whole = not self._bytes.getstate()[0]
        else:
            if not piece.isascii():
                piece = _without_surrogates(piece)
            if not self._whole:
                piece = self._bytes.decode(b"", True) + piece
                self._whole = True
        if self._searches:
            piece = self._look(piece)
        return self._unskipped(piece) if self._skip else piece

    @property
    def skipping(self) -> bool:
        """Something is still left out."""
        return self._skip > 0

    def end(self) -> str:
        """What was held back: the beginning of a stop string or a character that never came."""
        rest = self.feed(self._bytes.decode(b"", True))
        if self.stopped:
            return rest
        held, self._held = self._held, ""
        return rest + (self._unskipped(held) if self._skip else held)

    def _look(self, new: str) -> str:
        if self.stopped:
            return ""
        text = self._held + new
        hits = [
            (end, -len(search.wanted))
            for search in self._searches
            if (end := search.feed(new)) is not None
        ]
        if hits:
            self.stopped = True
            end, back = min(hits)
            cut = len(self._held) + end + back
            self._held = ""
            return text[:cut]
        certain = len(text) - max(search.matched for search in self._searches)
        self._held = text[certain:]
        return text[:certain]

    def _unskipped(self, text: str) -> str:
        shown = text[self._skip :]
        self._skip = max(0, self._skip - len(text))
        return shown


class _Search:
    """How much of one stop string is the end of the text so far?"""

    __slots__ = ("_shorter", "matched", "wanted")

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        self.matched = 0
        self._shorter = _borders(wanted)

    def feed(self, text: str) -> int | None:
        """The place in `text` behind the first occurrence, or None."""
        wanted, shorter, matched = self.wanted, self._shorter, self.matched
        place, length = 0, len(text)
        while place < length:
            if not matched:
                place = text.find(wanted[0], place)
                if place < 0:
                    break
            while matched and wanted[matched] != text[place]:
                matched = shorter[matched - 1]
            if wanted[matched] == text[place]:
                matched += 1
            place += 1
            if matched == len(wanted):
                return place
        self.matched = matched
        return None


def _borders(wanted: str) -> list[int]:
    """For each beginning: its longest proper beginning that is its end too."""
    borders = [0] * len(wanted)
    length = 0
    for place in range(1, len(wanted)):
        while length and wanted[place] != wanted[length]:
            length = borders[length - 1]
        if wanted[place] == wanted[length]:
            length += 1
        borders[place] = length
    return borders


def _without_surrogates(text: str) -> str:
    """Lone ones cannot be sent; a pair of them is the character that it stands for."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
