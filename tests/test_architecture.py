"""Who may import whom: an arrow that is not in ALLOWED is a change of the design."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "protocol": {"protocol"},
    "gateway": {"gateway", "protocol"},
    "worker": {"worker", "protocol"},
    "bindings": {"worker.binding", "bindings", "protocol.sampling"},
    "chat": {"chat"},
    "embedded_model": {"embedded_model"},
}
OURS = {*ALLOWED, "benchmarks", "tests"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_only_what_the_layout_allows(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        for module in imports(path):
            if module.split(".")[0] in OURS:
                assert any(
                    module == ok or module.startswith(ok + ".") for ok in ALLOWED[package]
                ), f"{path.relative_to(ROOT)} imports {module}"


def test_no_module_is_longer_than_300_lines() -> None:
    for package in (*ALLOWED, "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 300, path.relative_to(ROOT)


def test_every_module_says_which_question_it_answers() -> None:
    for package in ("protocol", "gateway", "worker", "bindings", "chat"):
        for path in (ROOT / package).rglob("*.py"):
            assert ast.get_docstring(ast.parse(path.read_text())), path.relative_to(ROOT)
