"""Match the bytes of an answer against a compiled grammar, at a bounded cost for each token.

All ways to match are followed side by side, and ways that meet become one. Each set of
ways is a `Position`; from there, a byte leads to the next position, which is computed
once and remembered. So what repeats costs a look into a dictionary.
"""

from worker.binding import BindingError

from .grammar_program import Program
from .grammar_states import RETURN, Kind

TOKEN_STEPS = 5_000
"""Steps that each token of the answer is worth: some milliseconds."""
SAVED_STEPS = 100_000
"""Steps that may be spent at once, as at the beginning: less than a tenth of a second."""
MAX_REMEMBERED = 50_000
"""Ways in all remembered positions, and frames; with more, all but the present are forgotten."""

SHORTEST = (0, 0xA0, 0x90)
"""The least second byte after E0 and F0, by how many bytes then follow: with a smaller one, the
character would have a shorter encoding."""

Way = tuple[int, int]
"""A state that reads a character, and the frame to return to."""
Kin = tuple[int, frozenset[Way], bool, int, int]
BOTTOM = 0
"""The frame of the first rule."""


class TooExpensive(BindingError):
    """The grammar takes more steps for a token than are allowed."""


class Position:
    """All ways to go on after some bytes of the answer."""

    __slots__ = ("ascii", "complete", "missing", "next", "value", "ways", "whole")

    def __init__(
        self, ways: tuple[Way, ...], *, complete: bool = False, value: int = 0, missing: int = 0,
        whole: bool = False,
    ) -> None:  # fmt: skip
        self.ways = ways
        self.complete = complete
        """The answer may end here."""
        self.value, self.missing = value, missing
        """Bits of a character whose UTF-8 is incomplete, and how many bytes of it are missing."""
        self.whole = whole
        """All of `ways` read the character, whatever the missing bytes are."""
        self.ascii: int | None = None
        self.next: dict[int, Position | None] = {}
        """The positions after a byte, as far as they are known; None is no match."""


class Matcher:
    """The progress of one answer through a grammar. Belongs to the model thread."""

    def __init__(self, program: Program) -> None:
        self._states = program.states
        self._left = SAVED_STEPS
        self._renewed = 0
        self._forget()
        self.position = self._after([(program.start, BOTTOM)])

    def _forget(self) -> None:
        self._positions: dict[tuple[frozenset[Way], bool], Position] = {}
        self._read: dict[tuple[tuple[Way, ...], int], Position] = {}
        self._remembered = 0
        self._frames: list[tuple[int, int, int]] = [(RETURN, 0, BOTTOM)]
        """Where to return to: the state that called, how often it did before, its own frame."""
        self._numbers: dict[tuple[int, int, int], int] = {}
        self._kins: dict[int, int] = {BOTTOM: BOTTOM}
        self._first_kins: dict[tuple[int, int, int, int], int] = {}

    def allows(self, token: bytes) -> bool:
        """Whether the answer may go on with these bytes."""
        return bool(token) and self._follow(token) is not None

    def accept(self, token: bytes) -> None:
        """Go on with the bytes of a token that was chosen."""
        position = self._follow(token)
        if position is None:
            raise BindingError("the answer so far does not match the grammar")
        self.position = position
        self._left = min(self._left + TOKEN_STEPS, SAVED_STEPS)
        if max(self._remembered, len(self._frames)) > MAX_REMEMBERED:
            self._renew()

    def kind(self, longest: int) -> Kin:
        """Equal for positions after which the next `longest` bytes match alike.

        They differ in the counts of repetitions that are too far from their ends to matter.
        """
        position = self.position
        self.spend(len(position.ways))
        ways = frozenset((at, self._kin(frame, longest)) for at, frame in position.ways)
        return self._renewed, ways, position.complete, position.value, position.missing

    def _kin(self, frame: int, longest: int) -> int:
        """The number of the first frame that was met of those that are alike."""
        chain = []
        while frame not in self._kins:
            chain.append(frame)
            frame = self._frames[frame][2]
        self.spend(len(chain))
        kin = self._kins[frame]
        for each in reversed(chain):
            at, count, _ = self._frames[each]
            least, most = self._states[at].least, self._states[at].most
            below = min(max(0, least - count), longest + 1)
            above = -1 if most is None else min(most - count, longest + 1)
            kin = self._first_kins.setdefault((at, below, above, kin), each)
            self._kins[each] = kin
        return kin

    def _follow(self, token: bytes) -> Position | None:
        position = self.position
        for byte in token:
            try:
                following = position.next[byte]
            except KeyError:
                following = self.step(position, byte)
            if following is None:
                return None
            position = following
        return position

    def step(self, position: Position, byte: int) -> Position | None:
        """The position after a byte. Raises TooExpensive."""
        found = position.next[byte] = self._step(position, byte)
        return found

    def _step(self, position: Position, byte: int) -> Position | None:
        if position.missing:
            if byte & 0xC0 != 0x80:
                return None
            missing = position.missing - 1
            if position.whole:
                return self._whole(position.ways, missing)
            if not position.value and byte < SHORTEST[missing]:
                return None
            value = position.value << 6 | byte & 0x3F
        elif byte < 0x80:
            if not self._ascii(position) >> byte & 1:
                return None
            value, missing = byte, 0
        else:
            missing = (byte >= 0xC2) + (byte >= 0xE0) + (byte >= 0xF0)
            if not missing or byte > 0xF4:
                return None
            value = byte & (0x3F >> missing)
        if missing:
            return self._inside(position, value, missing)
        self.spend(len(position.ways))
        states = self._states
        ways = tuple(way for way in position.ways if states[way[0]].reads(value))
        return self._whole(ways, 0) if ways else None

    def _ascii(self, position: Position) -> int:
        """A bit for each ASCII character that may follow."""
        if position.ascii is None:
            self.spend(len(position.ways))
            position.ascii = 0
            for at, _ in position.ways:
                position.ascii |= self._states[at].ascii
        return position.ascii

    def _inside(self, position: Position, value: int, missing: int) -> Position | None:
        """The position inside a character, of which `value` are the first bits."""
        self.spend(len(position.ways))
        states = self._states
        low = first = value << 6 * missing
        high = low | (1 << 6 * missing) - 1
        if not position.missing:  # shorter encodings of the same character are not valid
            low = max(low, (0x80, 0x800, 0x10000)[missing - 1])
        ways = tuple(way for way in position.ways if states[way[0]].reads_any(low, high))
        if not ways:
            return None
        if low == first and all(states[at].reads_all(low, high) for at, _ in ways):
            return self._whole(ways, missing)
        return Position(ways, value=value, missing=missing)

    def _whole(self, ways: tuple[Way, ...], missing: int) -> Position:
        """The position after `ways` have read their character, up to any `missing` bytes."""
        found = self._read.get((ways, missing))
        if found is None:
            if missing:
                found = Position(ways, missing=missing, whole=True)
            else:
                found = self._after([(self._states[at].then, frame) for at, frame in ways])
            self._read[ways, missing] = found
            self._remembered += 8 + len(ways)
        return found

    def spend(self, steps: int) -> None:
        """Raises TooExpensive."""
        self._left -= steps
        if self._left < 0:
            raise TooExpensive(
                "the grammar takes too long: it has too many ways to match this answer "
                f"(more than {SAVED_STEPS:,} steps for a token)"
            )

    def _after(self, todo: list[Way]) -> Position:
        """The position of all states that can be reached from `todo` without a character."""
        states, frames = self._states, self._frames
        seen, ways, complete = set(todo), [], False
        spent = 0
        while todo:
            at, frame = way = todo.pop()
            state = states[at]
            kind = state.kind
            if kind is Kind.READ:
                ways.append(way)
                continue
            if kind is Kind.SPLIT:
                reached = [(target, frame) for target in state.targets]
            elif kind is Kind.CALL:
                if state.then != RETURN:  # or the rule returns to where this one would
                    frame = self._frame(at, 0, frame)
                reached = [(state.inner, frame)]
            elif kind is Kind.REPEAT:
                reached = self._repeat(at, 0, frame)
            elif frame == BOTTOM:
                complete = True
                continue
            else:
                caller, count, outer = frames[frame]
                if states[caller].kind is Kind.CALL:
                    reached = [(states[caller].then, outer)]
                else:
                    reached = self._repeat(caller, count + 1, outer)
            spent += 1 + len(reached)
            if spent > 1000:
                self.spend(spent)
                spent = 0
            for each in reached:
                if each not in seen:
                    seen.add(each)
                    todo.append(each)
        self.spend(spent + len(ways))
        return self._position(tuple(ways), complete)

    def _repeat(self, at: int, count: int, frame: int) -> list[Way]:
        """How to go on before a repetition, of which there were `count` so far."""
        state = self._states[at]
        reached = [(state.then, frame)] if count >= state.least else []
        if state.most is None:
            count = min(count, state.least)
        if state.most is None or count < state.most:
            reached.append((state.inner, self._frame(at, count, frame)))
        return reached

    def _frame(self, at: int, count: int, outer: int) -> int:
        key = at, count, outer
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._frames)
            self._frames.append(key)
        return number

    def _position(self, ways: tuple[Way, ...], complete: bool) -> Position:
        key = frozenset(ways), complete
        found = self._positions.get(key)
        if found is None:
            found = self._positions[key] = Position(ways, complete=complete)
            self._remembered += 8 + len(ways)
        return found

    def _renew(self) -> None:
        """Forget all positions and frames but those of the present one."""
        old, before = self._frames, self.position
        self._renewed += 1
        self._forget()
        renewed = {BOTTOM: BOTTOM}
        for _, frame in before.ways:
            chain = []
            while frame not in renewed:
                chain.append(frame)
                frame = old[frame][2]
            for each in reversed(chain):
                at, count, outer = old[each]
                renewed[each] = self._frame(at, count, renewed[outer])
        ways = tuple((at, renewed[frame]) for at, frame in before.ways)
        self.position = Position(
            ways, complete=before.complete, value=before.value, missing=before.missing,
            whole=before.whole,
        )  # fmt: skip
