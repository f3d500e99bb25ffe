"""Prompt formats of conversations: chat template, raw LoLLMs prompt, bare text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from embedded_model.text.split import Split

BOS, END, SYSTEM, USER, ASSISTANT = "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
SPECIALS = (BOS, END, SYSTEM, USER, ASSISTANT)


@dataclass(frozen=True)
class Form:
    """The text around system text, questions and answers; `between` follows each answer.

    `skip_empty_system`: without a system text, its frame is left out, too.
    """

    name: str
    before_system: str
    after_system: str
    user: str
    link: str
    ai: str
    between: str = ""
    skip_empty_system: bool = True

    def opening(self, system: str) -> str:
        """Everything before the first question's prefix."""
        return (
            ""
            if self.skip_empty_system and not system
            else self.before_system + system + self.after_system
        )

    def prompt(self, system: str, turns: Sequence[tuple[str, str]], question: str) -> str:
        """The text that asks for the next answer."""
        past = "".join(f"{self.user}{q}{self.link}{self.ai}{a}{self.between}" for q, a in turns)
        return f"{self.opening(system)}{past}{self.user}{question}{self.link}{self.ai}"


CHAT = Form("chat template", SYSTEM, END, USER, END, ASSISTANT, END)
BARE = Form("bare", "", "\n", "", "", "", "\n")
BARE_LINES = Form("bare lines", "", "\n", "", "\n", "", "\n")
# A personality's form: conditioning, then prefixes that contain their own line breaks.
LOLLMS = Form("lollms", "!@>instruction: ", "", "\n!@>user: ", "\n", "!@>ai:\n")

_PAIRS = (
    ("!@>user:", "!@>ai:"),
    ("!@>user:", "!@>ai:"),
    ("!@>user:", "!@>assistant:"),
    ("!@>human:", "!@>ai:"),
    ("### Human:", "### Assistant:"),
    ("### User:", "### Assistant:"),
    ("User:", "AI:"),
    ("user:", "assistant:"),
    ("Human:", "Assistant:"),
    ("Question:", "Answer:"),
    ("Q:", "A:"),
    ("### Instruction:", "### Response:"),
    ("!@>{name}:", "!@>{ai}:"),
    ("{name}:", "{ai}:"),
    ("!@>User:", "!@>AI:"),
    ("USER:", "ASSISTANT:"),
    ("### {name}:", "### {ai}:"),
)
_HELD_OUT_PAIRS = (
    ("!@>human:", "!@>assistant:"),
    ("### Question:", "### Answer:"),
    ("User:", "Assistant:"),
    ("!@>user:", "!@>pebble:"),
)
_BEFORE_SYSTEM = (
    "",
    "",
    "!@>instruction: ",
    "!@>instruction:\n",
    "!@>system: ",
    "### Instruction: ",
    "### System:\n",
    "Instruction: ",
)


def raw(rng: Random, split: Split, name: str, ai: str) -> Form:
    """A raw LoLLMs form: prefixes, spaces and line ends vary as in the zoos of 2023."""
    user, answer = (
        part.format(name=name, ai=ai)
        for part in rng.choice(_PAIRS if split == "train" else _HELD_OUT_PAIRS)
    )
    own_lines = rng.random() < 0.5
    user_end = rng.choice((" ", " ", "", "\n"))
    answer_end = rng.choice(("", "", " ", "\n", "\n"))
    blank = rng.choice(("\n", "\n", "\n\n"))
    before = rng.choice(_BEFORE_SYSTEM)
    if own_lines:
        return Form("raw", before, "", f"{blank}{user}{user_end}", "\n", answer + answer_end)
    between = rng.choice(("\n", "\n", "\n\n"))
    return Form("raw", before, "\n", user + user_end, blank, answer + answer_end, between)
