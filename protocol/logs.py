"""Log lines: formats, escaping of untrusted text, rate limiting, and reading them back."""

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
"""Clients choose the names of events and models. No name may forge a log line, control a
terminal, or reverse the direction of text."""
_TEXT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?P<level>[A-Z]+) \S+: (?P<text>.*)")
_LIBRARIES = ("engineio", "engineio.server", "socketio", "socketio.server", "aiohttp.access")


def escaped(text: str) -> str:
    """The text with invisible and control characters as Python's escape sequences."""
    return _UNSAFE.sub(lambda match: ascii(match[0])[1:-1], text)


def with_fields(**values: Any) -> dict[str, Any]:
    """For `extra` of a log call: machine-readable fields of the line, without those that are
    None."""
    return {"fields": {name: value for name, value in values.items() if value is not None}}


class OneLine(logging.Formatter):
    """`name=value` pairs follow the text. A traceback follows the first line, indented, so that
    none of its lines looks like a log line."""

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
    """One JSON object per line. The fields are beside time, level, logger and message."""

    def format(self, record: logging.LogRecord) -> str:
        utc = time.gmtime(record.created)
        line = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', utc)}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": escaped(record.getMessage()),
            **{name: _safe(value) for name, value in getattr(record, "fields", {}).items()},
        }
        if record.exc_info:
            line["traceback"] = _indented(self.formatException(record.exc_info))
        # json.dumps escapes all other control characters.
        return json.dumps(line, default=str).replace("\x7f", "\\u007f")


def set_up_logging(level: str, style: str = "text", handler: logging.Handler | None = None) -> None:
    """Write all logs to stderr, which supervisor writes to a file, or to the handler."""
    handler = handler or logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if style == "json" else OneLine())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _LIBRARIES:  # a logger that has a level gets no handler from its library
        logging.getLogger(name).setLevel(logging.WARNING)


class RateLimitedLog:
    """Warnings that remote peers can trigger: at most one per second, with the number of
    warnings that were left out since the last one."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._logged_at = float("-inf")
        self._omitted = 0

    def warning(self, text: str, *values: object) -> None:
        now = time.monotonic()
        if now - self._logged_at < 1.0:
            self._omitted += 1
            return
        if self._omitted:
            text, values = f"{text} (and %d more like it)", (*values, self._omitted)
        self._log.warning(text, *values)
        self._logged_at, self._omitted = now, 0


def _safe(value: Any) -> Any:
    return value if isinstance(value, int | float) else escaped(str(value))


def _plain(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if text and " " not in text else json.dumps(text, ensure_ascii=False)


def _indented(text: str) -> str:
    return "\n".join(f"  {escaped(line)}" for line in text.split("\n"))


def level_and_text(line: str) -> tuple[str, str] | None:
    """Level and text of a log line in either format; None for any other line.

    For a line with a traceback, the text is the traceback's last line, which names the error.
    """
    if match := _TEXT.fullmatch(line):
        return match["level"], match["text"]
    try:
        record = json.loads(line)
        text = record.get("traceback") or record["message"]
        return str(record["level"]), escaped(str(text).strip().rpartition("\n")[2].strip())
    except (ValueError, LookupError, AttributeError, TypeError):
        return None
