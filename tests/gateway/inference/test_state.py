"""A generation ends exactly once, whatever happens in which order."""

from collections.abc import Callable

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.inference.outcomes import Busy, Cancelled, Failed, Finished, Gone, Outcome
from gateway.inference.state import GenerationState
from protocol import messages

ANSWER = messages.Finished(1, "stop", 3)
ENDS: dict[str, Callable[[GenerationState], Outcome | None]] = {
    "finished": lambda state: state.finish(ANSWER),
    "failed": lambda state: state.fail("it broke", "x", 3),
    "cancelled": GenerationState.cancel,
    "busy": GenerationState.refuse,
    "gone": GenerationState.abandon,
}


class States(RuleBasedStateMachine):
    """The model: the texts that went out, and how it ended first."""

    def __init__(self) -> None:
        super().__init__()
        self.state = GenerationState("name")
        self.shown = ""
        self.tokens: list[int] = []
        self.outcome: Outcome | None = None

    @rule(text=st.text(max_size=5), tokens=st.lists(st.integers(0, 9), max_size=3))
    def take(self, text: str, tokens: list[int]) -> None:
        goes_out = self.state.take(text, tokens)
        assert goes_out == (self.outcome is None and text != "")
        if self.outcome is None:
            self.shown += text
            self.tokens += tokens

    @rule(end=st.sampled_from(list(ENDS)))
    def ends(self, end: str) -> None:
        outcome = ENDS[end](self.state)
        if self.outcome is not None:
            assert outcome is None
            return
        self.outcome = outcome
        assert outcome == {
            "finished": Finished(self.shown, ANSWER),
            "failed": Failed("it broke", "x", 3),
            "cancelled": Cancelled(self.shown),
            "busy": Busy(),
            "gone": Gone(),
        }[end]  # fmt: skip
        assert outcome and outcome.label == end

    @invariant()
    def says_what_was_shown(self) -> None:
        state = self.state
        shown = (self.shown, self.tokens, self.outcome)
        assert (state.text, state.tokens, state.outcome) == shown
        assert state.length == len(self.shown) and state.untouched == (not self.shown)


TestStates = States.TestCase


def test_log_probabilities_of_all_turns_come_with_the_end() -> None:
    """Those of tokens that were computed and not sent come again with the next turn."""
    state = GenerationState("name")
    state.take("one ", [1], 1)
    state.park(messages.Finished(1, "cancelled", 1, logprobs=[[1.0, -0.1], [2.0, -0.2]]), 1)
    state.take("two", [2], 1)
    end = state.finish(messages.Finished(2, "stop", 2, logprobs=[[2.0, -0.2]]))
    assert isinstance(end, Finished)
    assert end.answer.logprobs == [[1.0, -0.1], [2.0, -0.2]]
