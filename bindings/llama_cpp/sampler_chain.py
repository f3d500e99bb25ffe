"""Build llama.cpp's sampler chain for one request.

The order of the samplers is that of llama.cpp's own server, so the same parameters have
the same effect.
"""

import ctypes
import math
import random
from typing import Any

from protocol.sampling import MAX_SEED, Sampling
from worker.binding import BindingError

from .native import address, api, sampler_accept, sampler_free

FORBIDS_BELOW = -100.0
"""A bias below this forbids the token."""
MIROSTAT_CANDIDATES = 100
"""m of the paper's algorithm, as in llama.cpp."""


class SamplerChain:
    """llama.cpp's samplers of one request; `close` frees them."""

    def __init__(self, sampling: Sampling, vocab: int, size: int, context: int, ends: Any) -> None:
        """`context` is what a `last_n` of -1 means; `ends` are the tokens that end an answer."""
        self._sampling = sampling
        self._vocab = vocab
        self._size = size
        self.last_n = _window(sampling.repeat_last_n, context) if _penalises(sampling) else 0
        self.dry_last_n = _window(sampling.dry_penalty_last_n, context) if _dry(sampling) else 0
        self.biases = _biases(sampling, size, ends)
        parameters = api.llama_sampler_chain_default_params()
        parameters.no_perf = True
        self._chain = api.llama_sampler_chain_init(parameters)
        self.address = address(self._chain)
        self._fill(_seed(sampling))

    def _fill(self, seed: int) -> None:
        s, add = self._sampling, self._add
        if self.biases:
            values = (api.llama_logit_bias * len(self.biases))(*self.biases.items())
            add(api.llama_sampler_init_logit_bias(self._size, len(values), values))
        if s.mirostat:
            add(api.llama_sampler_init_temp(s.temperature))
            if s.mirostat == 1:
                add(
                    api.llama_sampler_init_mirostat(
                        self._size, seed, s.mirostat_tau, s.mirostat_eta, MIROSTAT_CANDIDATES
                    )
                )
            else:
                add(api.llama_sampler_init_mirostat_v2(seed, s.mirostat_tau, s.mirostat_eta))
            return
        if self.last_n:
            add(
                api.llama_sampler_init_penalties(
                    self._size, self.last_n, s.repeat_penalty or 1.0, s.frequency_penalty,
                    s.presence_penalty,
                )
            )  # fmt: skip
        if self.dry_last_n:
            add(self._dry_sampler())
        if s.temperature <= 0:
            add(api.llama_sampler_init_greedy())
            return
        if s.top_k > 0:
            add(api.llama_sampler_init_top_k(s.top_k))
        if s.typical_p < 1:
            add(api.llama_sampler_init_typical(s.typical_p, 1))
        if s.top_p < 1:
            add(api.llama_sampler_init_top_p(s.top_p, 1))
        if s.min_p > 0:
            add(api.llama_sampler_init_min_p(s.min_p, 1))
        if s.xtc_probability > 0:
            add(api.llama_sampler_init_xtc(s.xtc_probability, s.xtc_threshold, 1, seed))
        add(api.llama_sampler_init_temp_ext(s.temperature, s.dynatemp_range, s.dynatemp_exponent))
        add(api.llama_sampler_init_dist(seed))

    def _dry_sampler(self) -> Any:
        s = self._sampling
        breakers = [b.encode(errors="replace") for b in s.dry_sequence_breakers if b]
        return api.llama_sampler_init_dry(
            self._vocab, s.dry_multiplier, s.dry_base, s.dry_allowed_length, self.dry_last_n,
            (ctypes.c_char_p * len(breakers))(*breakers), len(breakers),
        )  # fmt: skip

    def _add(self, sampler: Any) -> None:
        api.llama_sampler_chain_add(self._chain, sampler)

    @property
    def history(self) -> int:
        """How many tokens back the samplers look."""
        return max(self.last_n, self.dry_last_n)

    @property
    def needed(self) -> int | None:
        """How many of the likeliest tokens are enough to sample from; None is all of them.

        Exact: penalties only lower recent tokens, and each of these can let one more token
        into the top. Tokens with a bias must be among the candidates whatever their rank.
        """
        s = self._sampling
        if self.dry_last_n or s.mirostat:
            return None
        if self.last_n and (
            s.repeat_penalty < 1 or min(s.frequency_penalty, s.presence_penalty) < 0
        ):
            return None
        kept = 1 if s.temperature <= 0 else s.top_k
        return kept + self.last_n + len(self.biases) if kept else None

    @property
    def pure_greedy(self) -> bool:
        """The next token is always the likeliest one that is not forbidden."""
        s = self._sampling
        only_forbids = all(bias == -math.inf for bias in self.biases.values())
        return s.temperature <= 0 and only_forbids and self.needed == 1 + len(self.biases)

    def accept(self, token: int) -> None:
        sampler_accept(self.address, token)

    def accept_prompt(self, tokens: list[int]) -> None:
        """The prompt counts for the penalties."""
        if self.history:
            for token in tokens[-self.history :]:
                sampler_accept(self.address, token)

    def close(self) -> None:
        if self.address:
            sampler_free(self.address)
        self.address = 0


def _seed(sampling: Sampling) -> int:
    if sampling.seed in (-1, MAX_SEED):
        return random.randrange(MAX_SEED)
    return sampling.seed


def _penalises(s: Sampling) -> bool:
    """llama.cpp would divide by a repeat penalty of 0; clients that send it mean none."""
    neutral = s.repeat_penalty in (0, 1) and not s.frequency_penalty and not s.presence_penalty
    return not neutral and not s.mirostat


def _dry(s: Sampling) -> bool:
    return s.dry_multiplier > 0 and s.dry_base >= 1 and not s.mirostat


def _window(last_n: int, context: int) -> int:
    return context if last_n < 0 else min(last_n, context)


def _biases(sampling: Sampling, size: int, ends: Any) -> dict[int, float]:
    found = {}
    for name, bias in sampling.logit_bias.items():
        token = int(name) if name.isdecimal() and len(name) < 12 else -1
        if not 0 <= token < size:
            raise BindingError(f"logit_bias: the model has no token {name}")
        if math.isnan(bias):
            raise BindingError(f"logit_bias of token {name} is not a number")
        found[token] = -math.inf if bias < FORBIDS_BELOW else min(bias, 1e6)
    if sampling.ignore_eos:
        found.update(dict.fromkeys(ends, -math.inf))
    return found
