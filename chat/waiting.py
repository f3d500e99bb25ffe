"""Say in one line what the client waits for, from the server's notices.

Whatever a server sends, the line is harmless; notices that make no sense are ignored.
"""

import math
from typing import Any

from chat.terminal import one_line

BAR = 10
"""Characters of a progress bar."""
LONG_PROMPT = 100
"""Tokens to compute; for fewer, no progress is shown."""
MAX_NAME = 48
"""Characters of a name; longer ones are cut."""


class Waiting:
    """What the notices since the last `clear` say."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing is waited for."""
        self._model = self._pause = self._prompt = self._why = self._turn = ""

    def take(self, event: str, data: Any) -> None:
        """A notice, as it came."""
        if not isinstance(data, dict):
            return
        match event:
            case "queue":
                self._queued(data)
            case "model_status":
                self._model = _model(data)
            case "prompt_progress":
                self.clear()
                self._prompt = _prompt(data)
            case "generation_paused":
                self.clear()
                self._pause = f"paused: {_text(data, 'why')}"
            case "generation_continued":
                self.clear()
                self._pause = f"continued: {_text(data, 'why')}"

    @property
    def line(self) -> str:
        """ "" if there is nothing to say."""
        if self._prompt:
            return self._prompt
        reason = self._pause or self._model
        if not self._turn:
            return reason
        if not reason:
            return f"{self._turn}: {self._why}" if self._why else self._turn
        return reason if self._turn.startswith("next") else f"{reason}, {self._turn}"

    def _queued(self, data: dict[str, Any]) -> None:
        position, seconds = _number(data, "position"), _number(data, "eta")
        if position is None or position < 1:
            return
        self._prompt = ""
        self._why = _text(data, "why")
        self._turn = "next in line" if position < 2 else f"{_ordinal(int(position))} in line"
        if seconds is not None and seconds >= 1:
            self._turn += f", {_duration(seconds)}"


def _model(data: dict[str, Any]) -> str:
    name, done = _name(data, "model"), _number(data, "progress")
    match data.get("state"):
        case "starting" if name:
            return f"starting a worker for {name}"
        case "starting":
            return f"starting a worker of {_name(data, 'binding')}"
        case "loading":
            return f"loading {name}" + (" …" if done is None else f"  {_bar(done)}")
        case "waiting":
            return f"{name} waits until there is memory for it"
        case "failed":
            return f"{name} could not be loaded: {_text(data, 'error')}"
    return ""


def _prompt(data: dict[str, Any]) -> str:
    done, total = _number(data, "done"), _number(data, "total")
    reused = _number(data, "reused") or 0
    if done is None or total is None or done >= total or total - reused < LONG_PROMPT:
        return ""
    return f"reading the prompt  {_bar(done / total)}  ({done:,.0f} of {total:,.0f} tokens)"


def _bar(part: float) -> str:
    part = min(1.0, max(0.0, part))
    full = int(part * BAR)
    return f"[{'#' * full}{'-' * (BAR - full)}] {int(part * 100):2} %"


def _ordinal(number: int) -> str:
    last = 0 if number % 100 in (11, 12, 13) else number % 10
    return f"{number:,}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"


def _duration(seconds: float) -> str:
    return f"about {seconds:.0f} s" if seconds < 100 else f"about {seconds / 60:,.0f} min"


def _number(data: dict[str, Any], name: str) -> float | None:
    """None if it is missing, or none."""
    value = data.get(name)
    if not isinstance(value, int | float) or not -1e15 < value < 1e15:
        return None
    return None if math.isnan(value) else float(value)


def _text(data: dict[str, Any], name: str) -> str:
    return one_line(str(data.get(name, ""))[:1000])


def _name(data: dict[str, Any], name: str) -> str:
    text = _text(data, name)
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}…"
