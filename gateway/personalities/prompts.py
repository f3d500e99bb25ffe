"""How do personality, discussion and prompt become one text?

As LoLLMs' server of 2023 composed it: nothing stands between the parts but
what the personality itself says, and an answer is kept without the spaces
around it. A prefix that should begin a line begins with the line break.
"""

import re
from collections import deque
from datetime import datetime

from gateway.personalities.personality import Personality

MAX_EXCHANGES = 256
MAX_CHARACTERS = 200_000
"""Of one discussion: more than any context here takes, and bearable for a thousand clients."""

_PLACEHOLDER = re.compile(r"\{\{(date_time|date|time)\}\}")
_FORMATS = {
    "date_time": "%A, %B %d, %Y %I:%M:%S %p",
    "date": "%A, %B %d, %Y",
    "time": "%H:%M:%S",
}


class Discussion:
    """What one session and one personality said to each other; the oldest goes first."""

    def __init__(self) -> None:
        self._exchanges: deque[tuple[str, str]] = deque()
        self._characters = 0

    def add(self, prompt: str, answer: str) -> None:
        self._exchanges.append((prompt, answer))
        self._characters += len(prompt) + len(answer)
        while self._characters > MAX_CHARACTERS or len(self._exchanges) > MAX_EXCHANGES:
            self._characters -= sum(map(len, self._exchanges.popleft()))

    def blocks(self, personality: Personality) -> list[str]:
        """One text an exchange, oldest first: what may be dropped to make the rest fit."""
        return [asking(personality, q) + answer.strip() for q, answer in self._exchanges]

    def turns(self) -> list[str]:
        """What was said, without what the personality puts around it."""
        return [text for q, answer in self._exchanges for text in (q, answer.strip())]


def asking(personality: Personality, prompt: str) -> str:
    """The user's turn, up to where the model takes over."""
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
    return conditioning, blocks, asking(personality, prompt)
