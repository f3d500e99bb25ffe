"""Compile the rules of a grammar into states, and refuse what could not be matched in time.

Repetitions are counted while matching and not unrolled: `{0,2000}` is one state.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .grammar import (
    MAX_EMPTY_REPETITIONS,
    MAX_STATES,
    Chain,
    Characters,
    Choice,
    GrammarError,
    Part,
    Range,
    Reference,
    Repetition,
    Rules,
    Words,
    too_large,
)
from .grammar_states import RETURN, Kind, State, can_be_empty, left_recursion


@dataclass(frozen=True, slots=True)
class Program:
    states: list[State]
    start: int


def compile_rules(rules: Rules) -> Program:
    """GrammarError if a rule is missing or left-recursive, or a limit is exceeded."""
    compiler = _Compiler(rules)
    program = compiler.program()
    states = program.states
    empty = can_be_empty(states)
    for state in states:
        if state.kind is Kind.REPEAT and state.inner in empty:
            state.least = 0
            if state.most is not None and state.most > MAX_EMPTY_REPETITIONS:
                raise GrammarError(
                    "a part of a grammar that can be empty may be repeated "
                    f"{MAX_EMPTY_REPETITIONS} times, not {state.most:,}"
                )
    if (at := left_recursion(states, empty)) is not None:
        name = compiler.names.get(at, "root")
        raise GrammarError(f"the grammar is left-recursive: {name[:100]} begins with itself")
    return program


class _Compiler:
    """Compiles each part from its end: a state is made after the one that follows it."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._numbers = {name: number for number, name in enumerate(rules)}
        self._states = [State(Kind.RETURN)]
        self._classes: dict[tuple[Range, ...], tuple[tuple[Range, ...], int, tuple[int, ...]]] = {}
        self.names: dict[int, str] = {}
        """The names of rules by their first states."""

    def program(self) -> Program:
        if "root" not in self._rules:
            raise GrammarError("the grammar needs a rule named root")
        entries = [self._part(part, RETURN) for part in self._rules.values()]
        for state in self._states:
            if state.kind is Kind.CALL:
                state.inner = entries[state.inner]
        self.names = dict(zip(entries, self._rules, strict=True))
        return Program(self._states, entries[self._numbers["root"]])

    def _add(self, state: State) -> int:
        if len(self._states) >= MAX_STATES:
            raise too_large()
        self._states.append(state)
        return len(self._states) - 1

    def _read(self, ranges: tuple[Range, ...], then: int) -> int:
        known = self._classes.get(ranges)
        if known is None:
            mask = 0
            for low, high in ranges:
                if low < 128:
                    mask |= (1 << min(high, 127) + 1) - (1 << low)
            known = self._classes[ranges] = ranges, mask, tuple(low for low, _ in ranges)
        ranges, mask, starts = known
        return self._add(State(Kind.READ, then, ranges=ranges, ascii=mask, starts=starts))

    def _part(self, part: Part, then: int) -> int:
        match part:
            case Characters(ranges=ranges):
                return self._read(ranges, then)
            case Words(texts=texts):
                return self._word(texts[0], then) if len(texts) == 1 else self._trie(texts, then)
            case Reference(name=name):
                if name not in self._numbers:
                    raise GrammarError(f"the grammar has no rule named {name[:100]}")
                return self._add(State(Kind.CALL, then, inner=self._numbers[name]))
            case Chain(parts=parts):
                for each in reversed(parts):
                    then = self._part(each, then)
                return then
            case Choice(parts=parts):
                return self._add(
                    State(Kind.SPLIT, targets=tuple(self._part(p, then) for p in parts))
                )
            case Repetition():
                return self._repetition(part, then)

    def _repetition(self, part: Repetition, then: int) -> int:
        least, most = part.least, part.most
        if most == 0:
            return then
        if most is None and least <= 1:
            loop = State(Kind.SPLIT)
            at = self._add(loop)
            inner = self._part(part.part, at)
            loop.targets = inner, then
            return inner if least else at
        if most == 1:
            inner = self._part(part.part, then)
            return inner if least else self._add(State(Kind.SPLIT, targets=(inner, then)))
        inner = self._part(part.part, RETURN)
        return self._add(State(Kind.REPEAT, then, inner=inner, least=least, most=most))

    def _word(self, word: str, then: int) -> int:
        for character in reversed(word):
            then = self._read(((ord(character), ord(character)),), then)
        return then

    def _trie(self, texts: Sequence[str], then: int) -> int:
        """A state for each beginning that some texts have in common."""
        top = self._add(State(Kind.SPLIT))
        nodes: dict[tuple[int, str], int] = {}
        targets: dict[int, list[int]] = {}
        for word in dict.fromkeys(texts):
            at = top
            for character in word:
                child = nodes.get((at, character))
                if child is None:
                    child = nodes[at, character] = self._add(State(Kind.SPLIT))
                    read = self._read(((ord(character), ord(character)),), child)
                    targets.setdefault(at, []).append(read)
                at = child
            targets.setdefault(at, []).append(then)
        for at, found in targets.items():
            self._states[at].targets = tuple(found)
        return top
