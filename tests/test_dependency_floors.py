"""No dependency is older than its first release without a known vulnerability."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "python-socketio": "5.16.2",
    "python-engineio": "4.13.2",
    "aiohttp": "3.13.3",
    "supervisor": "4.0.3",
    "jinja2": "3.1.6",
}
"""Every earlier release has a published vulnerability."""


def parts(release: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", release)[:3]))


@pytest.mark.parametrize("name", FLOORS)
def test_nothing_older_is_installed_or_allowed(name: str) -> None:
    assert parts(version(name)) >= parts(FLOORS[name])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = project["dependencies"] + project["optional-dependencies"]["llama"]
    [wanted] = [each for each in listed if re.match(f"{name}[^a-z-]", each)]
    [lowest] = re.findall(r"(?:>=|~=|==)\s*([\d.]+)", wanted)
    assert parts(lowest) >= parts(FLOORS[name])
