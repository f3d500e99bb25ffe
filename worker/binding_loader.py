"""Where is the binding of that name, and what if it cannot be imported?"""

import importlib
import importlib.util
import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

from worker.binding import Binding

PACKAGE = "bindings"


class NoSuchBinding(Exception):
    """Starting again is senseless until somebody puts the folder there."""


class BrokenBinding(Exception):
    """The binding's own code failed; the cause is its error."""


def make_binding(name: str, folder: Path) -> Binding:
    """Import the package `name` in `folder` as `bindings.<name>` and make its `binding()`."""
    if not re.fullmatch(r"\w[\w-]*", name) or not (folder / name / "__init__.py").is_file():
        raise NoSuchBinding(f"there is no binding named {name!r} in {folder}")
    _show(folder)
    try:
        made = importlib.import_module(f"{PACKAGE}.{name}").binding()
    except Exception as error:
        raise BrokenBinding(
            f"the binding {name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(made, Binding):
        raise BrokenBinding(f"`binding` of {name!r} makes a {type(made).__name__}, no Binding")
    return made


def _show(folder: Path) -> None:
    """Make `folder` the package `bindings`, wherever it is and without running code of it."""
    spec = ModuleSpec(PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(folder.resolve())]
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
