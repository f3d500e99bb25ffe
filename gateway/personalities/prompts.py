"""Compose one text from a personality, a discussion and a prompt.

The format is that of LoLLMs' server of 2023: no separators but the personality's own, and
answers without surrounding spaces. A prefix that should begin a line has to begin with the
line break.
"""

import re
from datetime import datetime

from gateway.personalities.personality import Personality

_PLACEHOLDER = re.compile(r"\{\{(date_time|date|time)\}\}")
_FORMATS = {
    "date_time": "%A, %B %d, %Y %I:%M:%S %p",
    "date": "%A, %B %d, %Y",
    "time": "%H:%M:%S",
}


def user_turn(personality: Personality, prompt: str) -> str:
    """The user's turn, up to the start of the answer."""
    return (
        personality.user_message_prefix
        + prompt
        + personality.link_text
        + personality.ai_message_prefix
    )


def compose(
    personality: Personality | None, blocks: list[str], prompt: str, now: datetime | None = None
) -> tuple[str, list[str], str]:
    """Conditioning, blocks and prompt of a Generate; their concatenation is the text to continue.

    Without a personality the prompt goes to the model as it is. With `now`, the
    conditioning's `{{date}}`, `{{time}}` and `{{date_time}}` are filled in.
    """
    if personality is None:
        return "", [], prompt
    conditioning = personality.conditioning
    if now is not None:
        moment = now
        conditioning = _PLACEHOLDER.sub(
            lambda found: moment.strftime(_FORMATS[found[1]]), conditioning
        )
    return conditioning, blocks, user_turn(personality, prompt)
