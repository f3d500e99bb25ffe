"""Values that no honest worker sends are refused like frames that cannot be read."""

import math

import pytest

from gateway.workers.untrusted_values import check_hello, check_loaded, check_progress
from protocol.codec import MAX_MAPPED, MAX_MODELS
from protocol.errors import ProtocolError
from protocol.messages import Hello, Loaded, LoadProgress, PromptProgress


def hello(models: dict[str, int], mapped: int = 0) -> Hello:
    return Hello(1, "b", 7, 1, models=models, mapped=mapped)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_a_fraction_is_from_0_to_1(fraction: float) -> None:
    check_progress(LoadProgress(1, fraction))


@pytest.mark.parametrize("fraction", [-0.01, 1.01, math.inf, -math.inf, math.nan])
def test_other_fractions_are_refused(fraction: float) -> None:
    with pytest.raises(ProtocolError):
        check_progress(LoadProgress(1, fraction))


@pytest.mark.parametrize("counts", [(0, 0, 0), (3, 9, 2), (9, 9, 9), (0, 9, 5)])
def test_counts_up_to_the_total_are_progress(counts: tuple[int, int, int]) -> None:
    check_progress(PromptProgress(1, *counts))


@pytest.mark.parametrize("counts", [(-1, 9, 0), (10, 9, 0), (1, 9, -1), (1, 9, 10), (0, -1, 0)])
def test_other_counts_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ProtocolError):
        check_progress(PromptProgress(1, *counts))


@pytest.mark.parametrize("mapped", [-1, MAX_MAPPED + 1, 2**64 - 1])
def test_impossible_sizes_are_refused(mapped: int) -> None:
    with pytest.raises(ProtocolError):
        check_loaded(Loaded(1, "m", 0, mapped=mapped))
    with pytest.raises(ProtocolError):
        check_hello(hello({}, mapped))
    with pytest.raises(ProtocolError):
        check_hello(hello({"m.gguf": mapped}))


@pytest.mark.parametrize("name", ["m.gguf", "with spaces.gguf", "é.gguf", "x" * 255])
def test_a_file_name_may_be_listed(name: str) -> None:
    check_hello(hello({name: 1}, 1))


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "a\\b", "a\nb", "a\0b", "\x1b[31m", "\u202e", "x" * 256],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ProtocolError):
        check_hello(hello({name: 1}))


def test_a_long_list_of_models_is_refused() -> None:
    check_hello(hello({f"{number}": 1 for number in range(MAX_MODELS)}))
    with pytest.raises(ProtocolError):
        check_hello(hello({f"{number}": 1 for number in range(MAX_MODELS + 1)}))
