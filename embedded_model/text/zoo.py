"""Read conditioning, prompt format and sampling from the shipped personalities' files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from embedded_model.text.prompts import Form

FOLDER = Path(__file__).parents[2] / "personalities"


@dataclass(frozen=True)
class Personality:
    """The parts of a config.yaml that affect the model's input and sampling."""

    folder: str
    name: str
    conditioning: str
    form: Form
    sampling: dict[str, float]
    anti_prompts: tuple[str, ...]


@cache
def load(folder: str) -> Personality:
    """The personality in personalities/<folder>; its conditioning contains the form's opening."""
    config: dict[str, Any] = yaml.safe_load((FOLDER / folder / "config.yaml").read_text("utf-8"))
    return Personality(
        folder,
        config["name"],
        config["personality_conditioning"],
        Form(
            "personality",
            "",
            "",
            config["user_message_prefix"],
            config["link_text"],
            config["ai_message_prefix"],
        ),
        {
            "temperature": config["model_temperature"],
            "top_k": config["model_top_k"],
            "top_p": config["model_top_p"],
            "repeat_penalty": config["model_repeat_penalty"],
        },
        tuple(config["anti_prompts"]),
    )
