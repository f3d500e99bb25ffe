"""Is whatever is written what can be read again, and is it bounded?"""

import pytest

from gateway.errors import StateNotSaved
from gateway.storage.state import (
    MAX_BINDINGS_OF_HOLDER,
    MAX_BYTES,
    MAX_HOLDERS,
    MAX_NAME,
    Damaged,
    Defaults,
    State,
    changed,
    decode,
    fitting,
)


def selected(state: State, holder: str, binding: str, model: str) -> State:
    return changed(state, holder, {"default_binding": binding, "default_model": model})


def test_a_selection_of_a_holder_changes_nothing_else() -> None:
    before = State("echo", "lorem", mounted=["a"])
    after = selected(before, "alice", "single", "two")
    assert after.holders == {"alice": Defaults("single", "two", models={"single": "two"})}
    assert changed(after, "", {"active": 0}).holders == after.holders
    assert fitting(after)[0] == after
    assert (after.default_binding, after.default_model, after.models) == ("echo", "lorem", {})


def test_a_holder_s_last_models_are_few() -> None:
    state = State()
    for n in range(2 * MAX_BINDINGS_OF_HOLDER):
        state = selected(state, "alice", f"b{n}", "m")
    assert len(state.holders["alice"].models) == MAX_BINDINGS_OF_HOLDER
    assert f"b{2 * MAX_BINDINGS_OF_HOLDER - 1}" in state.holders["alice"].models


def test_what_is_too_long_loses_the_oldest_holders() -> None:
    long = "é" * MAX_NAME
    defaults = Defaults(long, long, models={f"{n}": long for n in range(MAX_BINDINGS_OF_HOLDER)})
    state = State(mounted=["a"], holders={f"h{n}": defaults for n in range(MAX_HOLDERS)})
    fit, content = fitting(state)
    assert len(content) <= MAX_BYTES and decode(content) == fit and fit.mounted == ["a"]
    kept = list(fit.holders)
    assert 10 < len(kept) < MAX_HOLDERS and kept == list(state.holders)[-len(kept) :]


@pytest.mark.parametrize(
    ("holder", "changes"),
    [
        ("alice", {"default_model": "x" * (MAX_NAME + 1)}),
        ("x" * (MAX_NAME + 1), {"default_model": "x"}),
        ("alice", {"active": 1}),
        ("", {"active": 1}),
    ],
)
def test_what_could_not_be_read_again_is_not_written(
    holder: str, changes: dict[str, object]
) -> None:
    with pytest.raises(StateNotSaved, match="the change cannot be saved"):
        fitting(changed(State(mounted=["a"]), holder, changes))


def test_too_many_holders_are_no_state_of_ours() -> None:
    holders = {f"h{n}": Defaults() for n in range(MAX_HOLDERS + 1)}
    with pytest.raises(StateNotSaved):
        fitting(State(holders=holders))
    with pytest.raises(Damaged):
        decode(b" " * (MAX_BYTES + 1))
