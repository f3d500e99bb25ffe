"""One personality: the fields of its config.yaml, checked and bounded."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from gateway import validation
from gateway.errors import BadRequest
from gateway.validation import MAX_PREDICT, integer, sampling_parameters

MAX_NAME = 200
MAX_DESCRIPTION = 4_000
MAX_TEXT = 100_000
MAX_ANTI_PROMPTS = 64

SAMPLING = ("temperature", "top_k", "top_p", "repeat_penalty", "repeat_last_n")
"""Parameters of `protocol.sampling`; their keys in the file begin with `model_`."""


@dataclass(frozen=True, slots=True)
class Personality:
    path: str
    """Its folder, relative to the zoo: what `add_personality` gets, and the saved state keeps."""
    language: str
    category: str
    folder: str
    name: str = "No Name"
    description: str = ""
    author: str = "ParisNeo"
    version: str = "1.0.0"
    conditioning: str = ""
    user_message_prefix: str = "## Human: "
    ai_message_prefix: str = "## lollms:"
    link_text: str = "\n"
    welcome_message: str = ""
    disclaimer: str = ""
    anti_prompts: tuple[str, ...] = ()
    """Stop strings; never empty ones."""
    sampling: dict[str, Any] = field(default_factory=dict)
    """Sampling parameters that the file sets, checked."""
    n_predict: int | None = None
    has_scripts: bool = False
    avatar: str = ""
    """The logo's path relative to the zoo; "" without one."""

    def listing_entry(self) -> dict[str, Any]:
        """Its entry in `personalities_list`."""
        return {
            "folder": self.folder,
            "name": self.name,
            "description": self.description,
            "author": self.author,
            "version": self.version,
            "has_scripts": self.has_scripts,
            "has_logo": bool(self.avatar),
            "avatar": f"/personalities/{quote(self.avatar)}" if self.avatar else "",
        }


def from_config(config: dict[str, Any], **place: Any) -> tuple[Personality, list[str]]:
    """The personality, and a sentence for each field that was invalid and is left out.

    `place` has the fields that are not in the file: path, language, category, folder,
    has_scripts, avatar.
    """
    defects: list[str] = []

    def text(key: str, default: str, limit: int = MAX_TEXT) -> str:
        value = config.get(key)
        if value is None:
            return default
        if isinstance(value, dict | list):
            defects.append(f"{key} is not a text")
            return default
        return str(value)[:limit]

    defaults = Personality(**place)
    user_prefix = text("user_message_prefix", defaults.user_message_prefix)
    n_predict = _checked(config, "n_predicts", defects).get("n_predicts")
    sampling: dict[str, Any] = {}
    for name in SAMPLING:
        sampling |= _checked(config, name, defects)
    personality = Personality(
        **place,
        name=text("name", defaults.name, MAX_NAME).strip() or defaults.name,
        description=text("personality_description", "", MAX_DESCRIPTION),
        author=text("author", defaults.author, MAX_NAME),
        version=text("version", defaults.version, MAX_NAME),
        conditioning=text("personality_conditioning", ""),
        user_message_prefix=user_prefix,
        ai_message_prefix=text("ai_message_prefix", defaults.ai_message_prefix),
        link_text=text("link_text", defaults.link_text),
        welcome_message=text("welcome_message", ""),
        disclaimer=text("disclaimer", "", MAX_DESCRIPTION),
        anti_prompts=_anti_prompts(config.get("anti_prompts"), user_prefix, defects),
        sampling=sampling,
        n_predict=n_predict,
    )
    return personality, defects


def _checked(config: dict[str, Any], name: str, defects: list[str]) -> dict[str, Any]:
    """`model_<name>`, checked like a client's parameter; {} if missing or invalid."""
    value = config.get(f"model_{name}")
    if value is None:
        return {}
    try:
        if name == "n_predicts":
            return {name: integer({name: value}, name, 1, 1, MAX_PREDICT)}
        return sampling_parameters({name: value})
    except BadRequest as error:
        defects.append(f"model_{error}")
        return {}


def _anti_prompts(value: Any, user_prefix: str, defects: list[str]) -> tuple[str, ...]:
    """The stop strings; by default the user's prefix, so that it does not write the user's turn."""
    if value is None:
        spoken_for = user_prefix.strip()
        return (spoken_for,) if spoken_for else ()
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        defects.append("anti_prompts is not a list of texts")
        return ()
    usable = [each for each in dict.fromkeys(values) if each and len(each) <= validation.MAX_NAME]
    return tuple(usable[:MAX_ANTI_PROMPTS])
