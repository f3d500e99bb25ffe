"""The kinds of values that settings have: each makes a text or a YAML value typed.

A kind raises InvalidValue, or InvalidSecret.
"""

import math
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from protocol.binding_card import PERMISSIONS
from protocol.join_file import is_address
from protocol.logs import FORMATS

Kind = Callable[[Any, Path], Any]
"""Called with the value, and the base folder for relative paths."""


class InvalidValue(ValueError):
    """The text says what is expected; `, not <value>` is appended."""


class InvalidSecret(ValueError):
    """The same for secrets: the value is not repeated."""


Scalar = str | int | float | bool
"""What a key of a binding's part of the config file may hold."""

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def text(value: Any, base: Path) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InvalidValue("a text is expected")
    return value


def name(value: Any, base: Path) -> str:
    """A name of a selection; "" selects nothing."""
    return "" if value == "" else text(value, base)


def token(value: Any, base: Path) -> str:
    if not isinstance(value, str) or not value or len(value) > 1000:
        raise InvalidSecret("a token is expected: up to 1,000 characters")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise InvalidSecret("a token may have visible ASCII characters only")
    return value


def whole(low: int, high: int) -> Kind:
    def read(value: Any, base: Path) -> int:
        number = value
        if isinstance(value, str) and len(value) <= 20:
            try:
                number = int(value)
            except ValueError:
                number = None
        if type(number) is not int or not low <= number <= high:
            raise InvalidValue(f"a whole number from {low} to {high} is expected")
        return number

    return read


def count_or_auto(high: int) -> Kind:
    """From 1; 0 is `auto`."""
    count = whole(1, high)

    def read(value: Any, base: Path) -> int:
        if isinstance(value, str) and value.lower() == "auto":
            return 0
        try:
            found: int = count(value, base)
        except InvalidValue as error:
            raise InvalidValue(
                str(error).replace(" is expected", ", or auto, is expected")
            ) from None
        return found

    return read


def yes_no(value: Any, base: Path) -> bool:
    words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    answer = value if isinstance(value, bool) else words.get(str(value).lower())
    if answer is None:
        raise InvalidValue("yes or no is expected")
    return answer


def seconds(value: Any, base: Path) -> float:
    number = value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            number = None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise InvalidValue("a number of seconds is expected")
    if not math.isfinite(number) or not 0 <= number <= 1e9:
        raise InvalidValue("a number of seconds, 0 or more, is expected")
    return float(number)


def seconds_or_no(value: Any, base: Path) -> float:
    """0 is `no`."""
    if value is False or (isinstance(value, str) and value.lower() in ("no", "false")):
        return 0.0
    try:
        return seconds(value, base)
    except InvalidValue:
        raise InvalidValue("a number of seconds, or no, is expected") from None


def path(value: Any, base: Path) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise InvalidValue("a path is expected")
    try:
        return Path(base, Path(value).expanduser()).absolute()
    except RuntimeError:  # ~somebody who does not exist
        raise InvalidValue("a path is expected") from None


def address(value: Any, base: Path) -> str:
    """HOST:PORT, as ZeroMQ binds it."""
    if not isinstance(value, str) or not is_address(f"tcp://{value}"):
        raise InvalidValue("HOST:PORT is expected")
    host = value.rpartition(":")[0].strip("[]")
    try:
        ip_address(host)
    except ValueError:
        if host != "localhost":
            raise InvalidValue("HOST:PORT with the address of an interface is expected") from None
    return value.replace("localhost", "127.0.0.1")


def origins(value: Any, base: Path) -> tuple[str, ...]:
    """Separated by commas or spaces, or a list; schemes and hosts in lower case."""
    listed = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise InvalidValue("origins like https://example.org:8080, or *, are expected")
    return tuple(map(_origin, listed))


def _origin(value: str) -> str:
    if value == "*":
        return value
    try:
        parts = urlsplit(value)
        whole_value = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        whole_value = False
    if not whole_value or parts.path.strip("/") or parts.query or parts.fragment or "@" in value:
        raise InvalidValue("origins like https://example.org:8080, or *, are expected")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def log_format(value: Any, base: Path) -> str:
    if value not in FORMATS:
        raise InvalidValue(f"one of {', '.join(FORMATS)} is expected")
    return str(value)


def level(value: Any, base: Path) -> str:
    if not isinstance(value, str) or value.upper() not in LEVELS:
        raise InvalidValue(f"one of {', '.join(LEVELS)} is expected")
    return value.upper()


def permissions(value: Any, base: Path) -> str:
    """Of `network`, `reads` and `writes` those that are allowed, or `all`; a text or a list.
    They become one text, separated by commas."""
    listed = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(each in (*PERMISSIONS, "all") for each in listed):
        raise InvalidValue(f"all, or a list of {', '.join(PERMISSIONS)}, is expected")
    return ",".join(each for each in PERMISSIONS if each in listed or "all" in listed)
