"""The listing of models: entries of models.yaml and local files, as clients get them."""

from collections.abc import Mapping
from typing import Any

MAX_MODELS = 5_000
MAX_TEXT = 4_000
MAX_FIELDS = 64
MAX_HOST = 255
"""Characters of a machine's name."""
Elsewhere = Mapping[str, tuple[int, list[str]]]
"""Models of other machines: name to size in bytes, and the machines' names."""
_NOWHERE: Elsewhere = {}

DEFAULTS = {
    "icon": "/images/default_model.png",
    "license": "unknown",
    "owner": "unknown",
    "owner_link": "https://github.com/ParisNeo",
    "description": "",
}
"""The defaults of the original, which clients of 2023 show."""


def named_models(content: Any) -> list[dict[str, Any]]:
    """The entries of a models.yaml that name a model; [] for anything else."""
    if not isinstance(content, list):
        return []
    entries = [entry for entry in content[:MAX_MODELS] if isinstance(entry, dict)]
    return [flat(entry) for entry in entries if _title(entry)]


def flat(entry: dict[str, Any]) -> dict[str, Any]:
    """The fields that clients get: values and lists of values, within limits."""
    fields = [(key, value) for key, value in entry.items() if not isinstance(value, dict)]
    return {key[:MAX_TEXT]: _kept(value) for key, value in fields[:MAX_FIELDS]}


def _kept(value: Any) -> Any:
    if isinstance(value, list):
        return [_kept(each) for each in value[:MAX_FIELDS] if not isinstance(each, list | dict)]
    return value[:MAX_TEXT] if isinstance(value, str) else value


def listed(
    entries: list[dict[str, Any]], files: Mapping[str, int], elsewhere: Elsewhere = _NOWHERE
) -> list[dict[str, Any]]:
    """The value of `available_models`: each model once, files without an entry at the end.

    `files` are the local files, name to size in bytes. A model that only other machines
    have names them in `on`.
    """
    models: dict[str, dict[str, Any]] = {}
    for entry in entries:
        models.setdefault(_title(entry), _model(entry, files))
    for name in sorted((files.keys() | elsewhere.keys()) - models.keys()):
        models[name] = _model({"filename": name}, files)
    for name, (size, hosts) in elsewhere.items():
        model = models[name]
        if not model["isInstalled"]:
            model["isInstalled"], model["on"] = True, [host[:MAX_HOST] for host in hosts]
            model["filesize"] = model["filesize"] or size
    return list(models.values())


def _model(entry: dict[str, Any], files: Mapping[str, int]) -> dict[str, Any]:
    title = _title(entry)
    server, model_type = _text(entry, "server", ""), _text(entry, "model_type", "")
    return {
        "title": title,
        **{name: _text(entry, name, default) for name, default in DEFAULTS.items()},
        "isInstalled": title in files or model_type.lower() == "api",
        "path": f"{server.rstrip('/')}/{title}" if server else title,
        "filesize": _size(entry.get("filesize")) or files.get(title, 0),
        "model_type": model_type,
    }


def _title(entry: dict[str, Any]) -> str:
    """Newer model lists have `name`, those of 2023 `filename`."""
    return _text(entry, "filename", "") or _text(entry, "name", "")


def _text(entry: dict[str, Any], name: str, default: str) -> str:
    value = entry.get(name)
    if value is None or isinstance(value, dict | list):
        return default
    return str(value)[:MAX_TEXT]


def _size(value: Any) -> int:
    if isinstance(value, str) and len(value) <= 40:
        try:
            value = float(value)
        except ValueError:
            return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63:
        return 0
    return int(value)
