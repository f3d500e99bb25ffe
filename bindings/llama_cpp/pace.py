"""How many tokens can be computed in a given time, from how long the last ones took.

A token takes the longer the more are before it, so the speed is kept for each range of
such depths: up to 1, 3, 7, 15, … tokens.
"""

LEAST = 8
"""Tokens. Fewer take about as long: the weights are read once for all of them."""
FIRST = 32
"""Tokens, before anything was measured."""
BEGINNING = 512
"""Tokens of one prompt in one batch at most, or as many as are before it: so the last of them
takes at most about twice as long as the first one."""
TILE = 64
"""Queries that llama.cpp's flash attention computes together. In a long context, 63 take ten
times as long as 64."""
PATIENCE = 1.0
"""Seconds that one tile may take before fewer tokens are tried."""
RETRY = 16
"""Small batches before a whole tile is tried again; doubled each time."""


Speeds = tuple[float, float]
"""The last two, in tokens per second."""


class Pace:
    """Pure state. Of the last two measurements it believes the faster one: the other may have
    been disturbed by another process."""

    def __init__(self, most: int, *, tile: int = LEAST) -> None:
        """`most` tokens can be computed at once. Whole tiles are preferred."""
        self._most = most
        self._tile = tile
        self._asked = FIRST
        self._speeds: dict[int, Speeds] = {}
        self._small, self._retry = 0, RETRY

    def record(self, tokens: int, seconds: float, depth: int = 0) -> None:
        """A batch of so many took so long. One that was small only because little was left is
        slower for each token than a large one; it counts only if it was fast."""
        speed, band = tokens / max(seconds, 1e-6), depth.bit_length()
        known = self._speeds.get(band)
        if tokens >= min(max(FIRST, self._tile), self._asked) or not known or speed > max(known):
            self._speeds[band] = (known[1] if known else speed, speed)

    def fits(self, seconds: float, depth: int = 0, *, short: bool = False) -> int:
        """How many tokens to compute next, so that they take about so long. `short`: of several
        prompts, each of BEGINNING tokens at most."""
        speed = self._speed(depth.bit_length())
        most = self._most if short else max(BEGINNING, depth)
        count = min(int(speed * seconds) if speed else FIRST, most)
        if count >= self._tile:
            count -= count % self._tile
            self._small, self._retry = 0, RETRY
        elif speed and (speed * PATIENCE >= self._tile or self._try_again()):
            count = self._tile
        self._asked = min(max(count, LEAST), self._most)
        return self._asked

    def _speed(self, band: int) -> float:
        """Of the deepest known band up to this one, else of the least deep one; 0 is unknown."""
        known = self._speeds.get(band)
        if known is None and self._speeds:
            below = [each for each in self._speeds if each < band]
            known = self._speeds[max(below) if below else min(self._speeds)]
        return max(known) if known else 0.0

    def _try_again(self) -> bool:
        """Small batches alone would never show that the machine is fast again."""
        self._small += 1
        if self._small < self._retry:
            return False
        self._small, self._retry = 0, 2 * self._retry
        return True


def whole_tiles(missing: int, budget: int, most: int) -> int:
    """How many of the `missing` tokens of a prompt to compute: `budget`, or a few more if less
    than a tile would be left. `most` can be computed at once."""
    if TILE <= budget < missing < budget + TILE and missing <= most:
        return missing
    return min(missing, budget)
