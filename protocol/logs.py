"""What does a log line look like, what can never be in one, and what does one say?"""

import json
import logging
import re
import sys
import time
from typing import Any

FORMATS = ("text", "json")
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""A client names events and models: none of them may forge a line, drive a terminal, or turn
the direction of what is read."""
_TEXT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?P<level>[A-Z]+) \S+: (?P<text>.*)")
_LIBRARIES = ("engineio", "engineio.server", "socketio", "socketio.server", "aiohttp.access")


def escaped(text: str) -> str:
    """What cannot be seen, or is more than it seems, as Python would write it."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def with_fields(**values: Any) -> dict[str, Any]:
    """For `extra` of a log call: what a program is to find in the line; None is left out."""
    return {"fields": {name: value for name, value in values.items() if value is not None}}


class OneLine(logging.Formatter):
    """`name=value` after the text. A traceback is what comes after the first line, indented,
    so that no line of it can pass for one of ours."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        pairs = [f" {name}={_plain(value)}" for name, value in fields.items()]
        return escaped(super().formatMessage(record) + "".join(pairs))

    def formatException(self, info: Any) -> str:
        return _indented(super().formatException(info))

    def formatStack(self, info: str) -> str:
        return _indented(super().formatStack(info))


class Json(logging.Formatter):
    """One object a line. The fields stand beside time, level, logger and message."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.gmtime(record.created)
        line = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": escaped(record.getMessage()),
            **{name: _safe(value) for name, value in getattr(record, "fields", {}).items()},
        }
        if record.exc_info:
            line["traceback"] = _indented(self.formatException(record.exc_info))
        # ASCII leaves one control character as it is.
        return json.dumps(line, default=str).replace("\x7f", "\\u007f")


def set_up_logging(level: str, style: str = "text") -> None:
    """Everything to stderr, where supervisor collects it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if style == "json" else OneLine())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in _LIBRARIES:  # with a level of their own they add no handler of their own
        logging.getLogger(chatty).setLevel(logging.WARNING)


class RateLimitedLog:
    """Warnings that remote peers can trigger: one a second, which counts those before it."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._logged_at = float("-inf")
        self._left_out = 0

    def warning(self, text: str, *values: object) -> None:
        now = time.monotonic()
        if now - self._logged_at < 1.0:
            self._left_out += 1
            return
        if self._left_out:
            text, values = f"{text} (and %d more like it)", (*values, self._left_out)
        self._log.warning(text, *values)
        self._logged_at, self._left_out = now, 0


def _safe(value: Any) -> Any:
    return value if isinstance(value, int | float) else escaped(str(value))


def _plain(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if text and " " not in text else json.dumps(text, ensure_ascii=False)


def _indented(text: str) -> str:
    return "\n".join(f"  {escaped(line)}" for line in text.split("\n"))


def level_and_text(line: str) -> tuple[str, str] | None:
    """What a line of ours says, whichever way it was written; None for what is none of ours.

    A traceback's last line, which says what went wrong, goes before the text it came with.
    """
    if ordinary := _TEXT.fullmatch(line):
        return ordinary["level"], ordinary["text"]
    try:
        read = json.loads(line)
        said = read.get("traceback") or read["message"]
        return str(read["level"]), escaped(str(said).strip().rpartition("\n")[2].strip())
    except (ValueError, LookupError, AttributeError, TypeError):
        return None
