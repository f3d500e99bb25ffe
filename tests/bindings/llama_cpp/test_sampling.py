"""Sampling parameters, grammars, logit biases and log probabilities."""

import json
import math
from collections import Counter
from dataclasses import fields
from typing import Any

import pytest

from bindings.llama_cpp import LlamaCpp
from protocol.sampling import Sampling
from tests.bindings.llama_cpp.driving import GREEDY, STORY, alone, request, said, together
from worker.binding import BindingError

OFF: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "repeat_penalty": 1.0}
"""Nothing between the model's distribution and the draw."""


def drawn(
    binding: LlamaCpp, count: int = 200, prompt: str = STORY, **sampling: Any
) -> Counter[int]:
    """The first token of many answers."""
    found: Counter[int] = Counter()
    for start in range(0, count, binding.slots):
        asked = [
            request(binding, prompt, 1, seed=seed, **{**OFF, **sampling})
            for seed in range(start, start + binding.slots)
        ]
        found.update(tokens[0] if tokens else -1 for tokens in together(binding, *asked))
    return found


def likeliest(binding: LlamaCpp, count: int, prompt: str = STORY) -> list[tuple[int, float]]:
    """The most probable first tokens, with their probabilities."""
    asked = request(binding, prompt, 1, logprobs=count, ignore_eos=True, **GREEDY)
    alone(binding, asked)
    return [(token, math.exp(p)) for token, p in asked.usage.logprobs[0][1:]]


def test_without_truncation_tokens_come_as_often_as_they_are_probable(exact: LlamaCpp) -> None:
    (token, p), *_ = likeliest(exact, 1)
    found = drawn(exact, 800)
    spread = math.sqrt(800 * p * (1 - p))
    assert abs(found[token] - 800 * p) < 5 * spread
    assert len(found) > 50


def test_greedy_takes_the_likeliest_whatever_else_is_set(exact: LlamaCpp) -> None:
    [(token, _)] = likeliest(exact, 1)
    odd = {"typical_p": 0.1, "xtc_probability": 1.0, "xtc_threshold": 0.0, "top_k": 3}
    assert set(drawn(exact, 40, **{**odd, "temperature": 0.0})) == {token}


@pytest.mark.parametrize("k", [1, 3, 10])
def test_top_k(exact: LlamaCpp, k: int) -> None:
    assert set(drawn(exact, top_k=k)) <= {token for token, _ in likeliest(exact, k)}


def test_top_p(exact: LlamaCpp) -> None:
    tops = likeliest(exact, 20)
    nucleus, total = set(), 0.0
    for token, p in tops:
        nucleus.add(token)
        total += p
        if total >= 0.1:
            break
    assert set(drawn(exact, top_p=0.1)) <= nucleus


def test_min_p(exact: LlamaCpp) -> None:
    tops = likeliest(exact, 20)
    kept = {token for token, p in tops if p >= 0.5 * tops[0][1] * 0.999}
    assert 0 < len(kept) < 20
    assert set(drawn(exact, min_p=0.5)) <= kept


def test_typical_p_leaves_fewer(exact: LlamaCpp) -> None:
    assert len(drawn(exact, typical_p=0.2)) < len(drawn(exact)) / 2


def test_temperature_sharpens_and_flattens(exact: LlamaCpp) -> None:
    assert len(drawn(exact, temperature=0.3)) < len(drawn(exact)) < len(drawn(exact, temperature=5))


def test_dynamic_temperature_moves_within_its_range(exact: LlamaCpp) -> None:
    """The tiny model is unsure, so its temperature goes to the upper end."""
    moving = drawn(exact, temperature=0.5, dynatemp_range=0.4, dynatemp_exponent=1.0)
    assert len(drawn(exact, temperature=0.3)) < len(moving)
    assert moving != drawn(exact, temperature=0.5)


def test_xtc_excludes_the_top_choices(exact: LlamaCpp) -> None:
    first, second, *_ = likeliest(exact, 3)
    threshold = second[1] * 0.99
    found = drawn(exact, xtc_probability=1.0, xtc_threshold=threshold, top_k=10)
    assert first[0] not in found
    assert first[0] in drawn(exact, xtc_probability=0.0, xtc_threshold=threshold, top_k=10)


def test_repeat_penalty_looks_repeat_last_n_back_into_the_prompt(exact: LlamaCpp) -> None:
    prompt = "7.,;"  # a token each
    wanted = exact.tokenize("7")[-1]

    def first(last_n: int, penalty: float = 100.0) -> int:
        favoured = {"temperature": 0.0, "logit_bias": {str(wanted): 30.0}}
        asked = {"repeat_penalty": penalty, "repeat_last_n": last_n}
        return alone(exact, request(exact, prompt, 1, **favoured, **asked))[0]

    assert first(0) == first(3) == wanted
    assert first(4) != wanted
    assert first(-1) != wanted
    assert first(-1, penalty=0.0) == wanted


def test_penalties_stop_a_loop(pebble: LlamaCpp) -> None:
    plain = request(pebble, STORY, 60, ignore_eos=True, **GREEDY)
    for penalty in (
        {"repeat_penalty": 2.0},
        {"repeat_penalty": 1.0, "presence_penalty": 5.0},
        {"repeat_penalty": 1.0, "frequency_penalty": 5.0},
    ):
        asked = request(
            pebble, STORY, 60, ignore_eos=True, temperature=0.0, repeat_last_n=-1, **penalty
        )
        assert len(set(alone(pebble, asked))) > len(set(alone(pebble, plain)))


def test_preselecting_candidates_changes_nothing(exact: LlamaCpp) -> None:
    """A DRY penalty of next to nothing takes the path over the whole vocabulary."""
    for sampling in (
        {"top_k": 20, "repeat_penalty": 1.3, "repeat_last_n": 20},
        {"top_k": 5, "repeat_penalty": 1.0},
        {"top_k": 5, "logit_bias": {"7": 5.0, "8": 4.0, "9": -200.0}},
        {"temperature": 0.0, "repeat_penalty": 1.5, "repeat_last_n": 16},
        GREEDY,
        {**GREEDY, "logit_bias": {str(token): -101.0 for token in range(4, 300)}},
    ):
        quick, whole = (
            alone(exact, request(exact, STORY, 60, ignore_eos=True, seed=5, **kind))
            for kind in (sampling, {**sampling, "dry_multiplier": 1e-9})
        )
        assert quick == whole


def test_dry_ends_repetition_of_sequences_up_to_a_breaker(exact: LlamaCpp) -> None:
    loop, wanted = "12345678" * 4, exact.tokenize("1")[-1]
    dry = {"dry_multiplier": 50.0, "dry_base": 2.0, "dry_allowed_length": 2}

    def first(**sampling: Any) -> int:
        favoured = {"logit_bias": {str(wanted): 30.0}, **GREEDY}
        return alone(exact, request(exact, loop, 1, **favoured, **sampling))[0]

    assert first() == wanted
    assert first(**dry) != wanted
    assert first(**{**dry, "dry_allowed_length": 40}) == wanted
    assert first(**dry, dry_sequence_breakers=["8"]) == wanted
    assert first(**dry, dry_penalty_last_n=4) == wanted


def test_mirostat_holds_the_surprise_it_is_told(exact: LlamaCpp) -> None:
    """A low target keeps to likely tokens, a high one does not."""

    def surprise(version: int, tau: float) -> float:
        asked = request(
            exact, STORY, 200, seed=3, ignore_eos=True, logprobs=1, mirostat=version,
            mirostat_tau=tau, mirostat_eta=0.1, temperature=1.0,
        )  # fmt: skip
        alone(exact, asked)
        values = [-chosen / math.log(2) for (_, chosen), *_ in asked.usage.logprobs[50:]]
        return sum(values) / len(values)

    for version in (1, 2):
        assert surprise(version, 2.0) < surprise(version, 7.0) - 1


def test_logit_bias_forces_and_forbids(exact: LlamaCpp) -> None:
    [(token, _)] = likeliest(exact, 1)
    assert set(drawn(exact, 40, logit_bias={"99": 1000.0})) == {99}
    assert token not in drawn(exact, 200, logit_bias={str(token): -101.0})


@pytest.mark.parametrize("bias", [{"100000": 1.0}, {"no": 1.0}, {"-1": 1.0}, {"3": math.nan}])
def test_a_bias_for_no_token_is_refused(exact: LlamaCpp, bias: dict[str, float]) -> None:
    with pytest.raises(BindingError, match="logit_bias"):
        alone(exact, request(exact, STORY, 1, logit_bias=bias))


def test_log_probabilities_are_those_of_the_model(exact: LlamaCpp) -> None:
    asked = request(exact, STORY, 3, seed=1, logprobs=5, ignore_eos=True)
    found = alone(exact, asked)
    assert [entry[0][0] for entry in asked.usage.logprobs] == found
    for (_, chosen), *best in asked.usage.logprobs:
        assert len(best) == 5
        assert best == sorted(best, key=lambda b: -b[1])
        assert chosen <= best[0][1] <= 0
    everything = request(exact, STORY, 1, seed=1, logprobs=20)
    alone(exact, everything)
    assert sum(math.exp(p) for _, p in everything.usage.logprobs[0][1:]) < 1


def test_ignore_eos_goes_on_to_the_end(pebble: LlamaCpp) -> None:
    assert len(alone(pebble, request(pebble, STORY, 300, ignore_eos=True, seed=1))) == 300


def test_a_grammar_holds(pebble: LlamaCpp) -> None:
    grammar = 'root ::= ("yes" | "no") " " [0-9]{3}'
    for seed in range(8):
        answer = said(pebble, STORY, 20, seed=seed, grammar=grammar)
        assert answer.split(" ")[0] in ("yes", "no")
        assert answer.split(" ")[1].isdigit()
        assert len(answer.split(" ")[1]) == 3


def test_a_json_schema_gives_json_that_fits_it(pebble: LlamaCpp) -> None:
    schema = {
        "type": "object",
        "properties": {
            "animal": {"enum": ["bear", "fox"]},
            "legs": {"type": "integer", "minimum": 0, "maximum": 99},
            "tame": {"type": "boolean"},
        },
        "required": ["animal", "legs", "tame"],
        "additionalProperties": False,
    }
    for seed in range(8):
        found = json.loads(
            said(pebble, STORY, 200, seed=seed, json_schema=json.dumps(schema), top_k=0)
        )
        assert found["animal"] in ("bear", "fox")
        assert isinstance(found["legs"], int)
        assert isinstance(found["tame"], bool)


def test_a_finished_grammar_ends_the_answer_even_where_ends_are_forbidden(pebble: LlamaCpp) -> None:
    assert said(pebble, STORY, 20, grammar='root ::= "yes"', ignore_eos=True) == "yes"


@pytest.mark.parametrize(
    "wrong",
    [
        {"grammar": "nonsense ::="},
        {"grammar": 'start ::= "x"'},
        {"grammar": "root ::= root"},
        {"json_schema": "{"},
        {"json_schema": "[]"},
        {"json_schema": '{"$ref": "https://example.invalid/schema"}'},
        {"json_schema": '{"$ref": "#/nowhere"}'},
        {"json_schema": '{"type": "martian"}'},
        {"json_schema": "{}", "grammar": 'root ::= "x"'},
    ],
)
def test_a_grammar_that_makes_no_sense_fails_its_request_only(
    pebble: LlamaCpp, wrong: dict[str, Any]
) -> None:
    with pytest.raises(BindingError, match=r"grammar|json_schema"):
        alone(pebble, request(pebble, STORY, 3, **wrong))
    assert alone(pebble, request(pebble, STORY, 3, ignore_eos=True))


def test_extremes_of_every_parameter_are_survived(exact: LlamaCpp) -> None:
    for field in fields(Sampling):
        for bound in {"low", "high"} & set(field.metadata):
            extreme = {field.name: type(field.default)(field.metadata[bound])}
            asked = request(exact, STORY, 3, **{"ignore_eos": True, **extreme})
            assert len(alone(exact, asked)) == 3, extreme
