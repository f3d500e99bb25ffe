"""What does a log line look like, and what can never be in one?"""

import logging
import re
import sys

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""A client names events and models: none of them may forge a line or drive a terminal."""


class OneLine(logging.Formatter):
    """Control characters are escaped; a traceback is what comes after the first line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        return _UNSAFE.sub(lambda found: f"\\x{ord(found[0]):02x}", line)


def set_up_logging(level: str) -> None:
    """Everything to stderr, where supervisor collects it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("engineio", "socketio", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
