"""Output text: repair UTF-8, end at stop strings, skip what the client already has.

Pure, and linear in the length of the text for all pieces and stop strings. It
searches for stop strings with the Knuth-Morris-Pratt algorithm, because a client
chooses both the text and the stop strings.
"""

import codecs
from collections.abc import Iterable

_utf8_decoder = codecs.getincrementaldecoder("utf-8")


class Text:
    """The output text of one generation.

    A stop string ends the text where it is complete; of several, the one that ends
    first does. So the result does not depend on how the text was split into pieces.
    """

    __slots__ = ("_at_boundary", "_decoder", "_pending", "_searches", "_skip", "stopped")

    def __init__(self, stop: Iterable[str] = (), skip: int = 0) -> None:
        self.stopped = False
        """A stop string was found; all later text is dropped."""
        self._decoder = _utf8_decoder("replace")
        self._at_boundary = True  # the decoder holds no incomplete character
        self._searches = [_Search(pattern) for pattern in dict.fromkeys(stop) if pattern]
        self._pending = ""  # may be the beginning of a stop string
        self._skip = skip

    def feed(self, piece: str | bytes) -> str:
        """Take a piece; return the text, possibly "", that can now be sent."""
        if isinstance(piece, bytes):
            if self._at_boundary and piece.isascii():  # the usual case, and faster
                piece = piece.decode("ascii")
            else:
                piece = self._decoder.decode(piece)
                self._at_boundary = not self._decoder.getstate()[0]
        else:
            if not piece.isascii():
                piece = _without_surrogates(piece)
            if not self._at_boundary:
                piece = self._decoder.decode(b"", True) + piece
                self._at_boundary = True
        if self._searches:
            piece = self._before_stop(piece)
        return self._after_skip(piece) if self._skip else piece

    @property
    def skipping(self) -> bool:
        """Whether there is still text to skip."""
        return self._skip > 0

    def end(self) -> str:
        """The text held back: the beginning of a stop string, or an incomplete character."""
        rest = self.feed(self._decoder.decode(b"", True))
        if self.stopped:
            return rest
        pending, self._pending = self._pending, ""
        return rest + (self._after_skip(pending) if self._skip else pending)

    def _before_stop(self, new: str) -> str:
        if self.stopped:
            return ""
        text = self._pending + new
        hits = [
            (end, -len(search.pattern))
            for search in self._searches
            if (end := search.feed(new)) is not None
        ]
        if hits:
            self.stopped = True
            end, back = min(hits)
            cut = len(self._pending) + end + back
            self._pending = ""
            return text[:cut]
        cut = len(text) - max(search.matched for search in self._searches)
        self._pending = text[cut:]
        return text[:cut]

    def _after_skip(self, text: str) -> str:
        rest = text[self._skip :]
        self._skip = max(0, self._skip - len(text))
        return rest


class _Search:
    """Search for one stop string; `matched` is how much of it is the end of the text so far."""

    __slots__ = ("_borders", "matched", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.matched = 0
        self._borders = _border_lengths(pattern)

    def feed(self, text: str) -> int | None:
        """The index in `text` after the first occurrence, or None."""
        pattern, borders, matched = self.pattern, self._borders, self.matched
        index, length = 0, len(text)
        while index < length:
            if not matched:
                index = text.find(pattern[0], index)
                if index < 0:
                    break
            while matched and pattern[matched] != text[index]:
                matched = borders[matched - 1]
            if pattern[matched] == text[index]:
                matched += 1
            index += 1
            if matched == len(pattern):
                return index
        self.matched = matched
        return None


def _border_lengths(pattern: str) -> list[int]:
    """For each prefix, the length of its longest border: a proper prefix that is also a suffix."""
    borders = [0] * len(pattern)
    length = 0
    for index in range(1, len(pattern)):
        while length and pattern[index] != pattern[length]:
            length = borders[length - 1]
        if pattern[index] == pattern[length]:
            length += 1
        borders[index] = length
    return borders


def _without_surrogates(text: str) -> str:
    """Join pairs of surrogates to one character; replace lone ones, which cannot be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
