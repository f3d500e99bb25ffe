"""The sampling parameters of a generation: names, defaults and ranges.

Names and meanings are those of llama.cpp. The defaults of the six parameters that
LoLLMs documents are those of LoLLMs. The gateway checks a client's parameters
against this table, the codec checks frames against it, and bindings read the result.
"""

from dataclasses import dataclass, field
from typing import Any

MAX_SEED = 2**32 - 1
"""llama.cpp's seeds have 32 bits; this one selects a random seed."""


def _number(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """The range of each number is in its field's metadata: `low` and `high`, both inclusive."""

    temperature: float = _number(0.9, 0.0, 100.0)
    """0 is greedy: always the likeliest token."""
    top_k: int = _number(50, 0, 1_000_000)
    """0 means the whole vocabulary."""
    top_p: float = _number(0.95, 0.0, 1.0)
    min_p: float = _number(0.0, 0.0, 1.0)
    typical_p: float = _number(1.0, 0.0, 1.0)
    repeat_penalty: float = _number(1.2, 0.0, 100.0)
    repeat_last_n: int = _number(40, -1, 1_000_000)
    """-1 means the whole context."""
    presence_penalty: float = _number(0.0, -100.0, 100.0)
    frequency_penalty: float = _number(0.0, -100.0, 100.0)
    mirostat: int = _number(0, 0, 2)
    mirostat_tau: float = _number(5.0, 0.0, 100.0)
    mirostat_eta: float = _number(0.1, 0.0, 100.0)
    dynatemp_range: float = _number(0.0, 0.0, 100.0)
    dynatemp_exponent: float = _number(1.0, 0.0, 100.0)
    xtc_probability: float = _number(0.0, 0.0, 1.0)
    xtc_threshold: float = _number(0.1, 0.0, 1.0)
    dry_multiplier: float = _number(0.0, 0.0, 100.0)
    dry_base: float = _number(1.75, 0.0, 100.0)
    dry_allowed_length: int = _number(2, 0, 1_000_000)
    dry_penalty_last_n: int = _number(-1, -1, 1_000_000)
    dry_sequence_breakers: list[str] = field(default_factory=lambda: ["\n", ":", '"', "*"])
    logit_bias: dict[str, float] = field(default_factory=dict)
    """Maps a token id, in decimal digits, to a number that is added to its logit. Below -100,
    the token is never chosen."""
    grammar: str = ""
    """A grammar in GBNF; "" means none."""
    json_schema: str = ""
    """A JSON schema as text, converted to a grammar; "" means none."""
    logprobs: int = _number(0, 0, 20)
    ignore_eos: bool = False
    seed: int = _number(-1, -1, MAX_SEED)
    """-1 or MAX_SEED selects a random seed."""
