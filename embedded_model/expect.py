"""Store PyTorch's answers to fixed prompts, for the test that llama.cpp gives the same."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer

from embedded_model import checkpoint
from embedded_model.model import Pebble
from embedded_model.text.prompts import BARE, BOS, CHAT, END, LOLLMS

STORED = Path(__file__).parents[1] / "tests" / "embedded_model" / "expected.json"
PROMPTS = (
    CHAT.prompt("", [], "Hello!"),
    CHAT.prompt("", [], "What is the capital of Norway?"),
    CHAT.prompt("You are a pirate.", [], "What is 6 x 7?"),
    CHAT.prompt(
        "", [("My name is Tarvino.", "Hello Tarvino, nice to meet you!")], "What is my name?"
    ),
    LOLLMS.prompt("You are Pebble.", [], "Count from 3 to 12."),
    LOLLMS.prompt("You are Pebble.", [], "Tell me a story about a lighthouse."),
    LOLLMS.prompt("", [], "How do you say thank you in Japanese?"),
    BARE.prompt("", [], "What colour is the sky?"),
    "### Human: Give me an emoji for pizza.\n### Assistant:",
    "User: What is the stock price today?\nAI:",
)


def rounded(model: Pebble) -> Pebble:
    """The model with its matrices rounded as in the F16 file; it still computes in F32."""
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data = parameter.data.half().float()
    return model.eval()


@torch.no_grad()
def greedy(model: Pebble, tokenizer: Tokenizer, prompt: str, limit: int = 256) -> str:
    """The most probable continuation up to the end token."""
    end = tokenizer.token_to_id(END)
    start: list[int] = tokenizer.encode(BOS + prompt).ids
    ids = list(start)
    while len(ids) < len(start) + limit:
        states = model.stream(torch.tensor([ids]))[:, -1]
        token = int(model.logits(states).argmax())
        if token == end:
            break
        ids.append(token)
    return str(tokenizer.decode(ids[len(start) :]))


def main() -> None:
    """python -m embedded_model.expect"""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("build/pebble"),
        help="folder with tokenizer and checkpoint",
    )
    parser.add_argument("--out", type=Path, default=STORED)
    options = parser.parse_args()
    model = rounded(checkpoint.load(options.folder / "pebble.pt")[0])
    tokenizer = Tokenizer.from_file(str(options.folder / "tokenizer.json"))
    answers = []
    for prompt in PROMPTS:
        answers.append({"prompt": prompt, "answer": greedy(model, tokenizer, prompt)})
        print(f"{prompt!r} -> {answers[-1]['answer']!r}", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
