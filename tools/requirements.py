"""List packages from pyproject.toml: the server's own, and those of the named extras."""

import sys
import tomllib
from pathlib import Path


def requirements(*extras: str) -> list[str]:
    path = Path(__file__).resolve().parent.parent / "pyproject.toml"
    project = tomllib.loads(path.read_text())["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(each for extra in extras for each in optional[extra])]


if __name__ == "__main__":
    print("\n".join(requirements(*sys.argv[1:])))
