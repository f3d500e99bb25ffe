"""Find and import a binding by name; report one that is missing or broken."""

import importlib
import importlib.util
import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

from worker.binding import Binding

PACKAGE = "bindings"


class NoSuchBinding(Exception):
    """The folder is missing: a restart does not help until somebody adds it."""


class BrokenBinding(Exception):
    """The binding's own code failed; `__cause__` is its error."""


def make_binding(name: str, folder: Path) -> Binding:
    """Import the package `name` in `folder` as `bindings.<name>` and call its `binding()`."""
    if not re.fullmatch(r"\w[\w-]*", name) or not (folder / name / "__init__.py").is_file():
        raise NoSuchBinding(f"there is no binding named {name!r} in {folder}")
    _register_package(folder)
    try:
        binding = importlib.import_module(f"{PACKAGE}.{name}").binding()
    except Exception as error:
        raise BrokenBinding(
            f"the binding {name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(binding, Binding):
        kind = type(binding).__name__
        raise BrokenBinding(f"`binding()` of {name!r} returned a {kind}, not a Binding")
    return binding


def _register_package(folder: Path) -> None:
    """Make `folder` the package `bindings`, wherever it is, without running code in it."""
    spec = ModuleSpec(PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(folder.resolve())]
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
