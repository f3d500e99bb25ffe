"""Tokenize and detokenize with a model's vocabulary."""

import ctypes
from typing import Any

from .native import address, api, piece_of


class Vocabulary:
    """The vocabulary of a loaded model; valid as long as the model is."""

    def __init__(self, model: Any) -> None:
        self._vocab = api.llama_model_get_vocab(model)
        self.address = address(self._vocab)
        self.size: int = api.llama_vocab_n_tokens(self._vocab)
        self.pieces = [piece_of(self.address, t, special=False) for t in range(self.size)]
        """Each token's bytes in an answer; a control token has none."""
        self.ends = frozenset(t for t in range(self.size) if api.llama_vocab_is_eog(self._vocab, t))
        """End-of-generation tokens, which end an answer."""

    @property
    def filler(self) -> int:
        """The token of an empty prompt: something must precede the first answer token."""
        for token in (
            api.llama_vocab_bos(self._vocab),
            api.llama_vocab_eos(self._vocab),
            api.llama_vocab_nl(self._vocab),
        ):
            if token >= 0:
                return int(token)
        return 0

    def bos_eos_names(self) -> tuple[str, str]:
        """BOS and EOS as text for chat templates; BOS is empty if `tokenize` adds it anyway."""
        bos, eos = api.llama_vocab_bos(self._vocab), api.llama_vocab_eos(self._vocab)
        added = api.llama_vocab_get_add_bos(self._vocab)
        return "" if added else self._name(bos), self._name(eos)

    def _name(self, token: int) -> str:
        name = piece_of(self.address, token, special=True) if token >= 0 else b""
        return name.decode(errors="replace")

    def tokenize(self, text: str) -> list[int]:
        """Adds BOS if the model requires it. Names of special tokens become those tokens."""
        data = text.encode(errors="replace")
        room = len(data) + 16
        while True:
            tokens = (ctypes.c_int32 * room)()
            count = api.llama_tokenize(self._vocab, data, len(data), tokens, room, True, True)
            if count >= 0:
                return list(tokens[:count])
            room = -count

    def detokenize(self, tokens: list[int]) -> bytes:
        """The bytes of `tokens`, special ones as their names, without a leading BOS."""
        known = [t for t in tokens if 0 <= t < self.size]
        given = (ctypes.c_int32 * len(known))(*known)
        room = 16 * len(known) + 16
        while True:
            text = ctypes.create_string_buffer(room)
            size = api.llama_detokenize(self._vocab, given, len(known), text, room, True, True)
            if size >= 0:
                return text.raw[:size]
            room = -size
