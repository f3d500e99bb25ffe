"""How many tokens can be computed in a given time, from how long the last ones took."""

LEAST = 8
"""Tokens. Fewer take about as long: the weights are read once for all of them."""
FIRST = 32
"""Tokens, before anything was measured."""
GROWTH = 8
"""From one batch to the next at most; a small batch says little of a large one."""


class Pace:
    """Pure state. It believes the last measurement: the next one corrects it at once."""

    def __init__(self, most: int) -> None:
        """`most` tokens can be computed at once."""
        self._most = most
        self._bound = FIRST
        self._asked = FIRST
        self._speed = 0.0  # tokens per second; 0 is unknown

    def record(self, tokens: int, seconds: float) -> None:
        """A batch of so many took so long. One that was small only because little was left is
        slower for each token than a large one, and says nothing of that."""
        speed = tokens / max(seconds, 1e-6)
        if tokens >= min(FIRST, self._asked) or speed > self._speed:
            self._speed = speed
            self._bound = max(self._bound, GROWTH * tokens)

    def fits(self, seconds: float) -> int:
        """How many tokens to compute next, so that they take about so long."""
        wanted = int(self._speed * seconds) if self._speed else FIRST
        count = max(LEAST, min(wanted, self._bound))
        if count > FIRST:
            count -= count % FIRST  # llama.cpp computes whole tiles fastest
        self._asked = min(count, self._most)
        return self._asked
