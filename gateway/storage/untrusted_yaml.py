"""Read untrusted YAML files, within limits.

`safe_load` is not enough: 272 bytes of aliases become 39 MB of JSON, 100 kB of
brackets overflow the C stack, and a FIFO under the name never ends.
"""

import json
import math
from pathlib import Path
from typing import Any

import yaml

from gateway.storage.untrusted_files import read_regular

MAX_BYTES = 256_000
MAX_DEPTH = 32
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
MAX_DIGITS = 19
"""Of an integer: what fits into 64 bits."""


class Unreadable(Exception):
    """The file cannot be used. The text is a reason for the log, without the file's content."""


class _Loader(yaml.CSafeLoader):
    """The C parser, without timestamps: a date stays text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def load(path: Path, limit: int = MAX_BYTES) -> Any:
    """The document, cleaned. Raise FileNotFoundError or Unreadable."""
    try:
        content = read_regular(path, limit)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    return parse(_text(content))


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Files that the original wrote on Windows, where open() does not default to UTF-8.
        return content.decode("cp1252", errors="replace")


def parse(text: str) -> Any:
    try:
        _check(text)
        return clean(_document(text))
    except yaml.YAMLError as error:
        raise Unreadable(_reason(error)) from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        # A number of 5,000 digits, a date that is none, a list as a key.
        raise Unreadable(f"not plain data ({type(error).__name__})") from None


def _document(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _check(text: str) -> None:
    """Refuse aliases and depth before anything is built: parser events come one by one."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise Unreadable("aliases are not accepted")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise Unreadable(TOO_DEEP)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _reason(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    if "nesting depth" in str(problem):  # newer releases of libyaml have a limit of their own
        return TOO_DEEP
    mark = getattr(error, "problem_mark", None)
    # A constructor's problem quotes the file: its first line, cut, is enough.
    brief = str(problem).splitlines()[0][:100]
    return f"{brief} (line {mark.line + 1})" if mark else brief


_NOTHING = object()


def clean(value: Any) -> Any:
    """The part of a value that JSON can represent: texts, numbers, booleans, null, lists, objects.

    A date becomes ISO text; bytes, sets, NaN and infinities are left out, with their keys.
    """
    cleaned = _clean(value)
    return None if cleaned is _NOTHING else cleaned


def _clean(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int):
        return value if abs(value) < 10**MAX_DIGITS else _NOTHING
    if isinstance(value, float):
        return value if math.isfinite(value) else _NOTHING
    if isinstance(value, list):
        return [item for item in map(_clean, value) if item is not _NOTHING]
    if isinstance(value, dict):
        pairs = ((_key(key), _clean(item)) for key, item in value.items())
        return {k: v for k, v in pairs if k is not None and v is not _NOTHING}
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return _NOTHING


def _key(key: Any) -> str | None:
    if isinstance(key, str):
        return str(_clean(key))
    # As json.dumps would write it. An entry whose key is a date or bytes is left out.
    return json.dumps(key) if key is None or isinstance(key, bool | int | float) else None
