"""Which package may import which, which library may appear where, and who sets whose attributes.

An import that a table here does not allow is a change of the design: docs/architecture.md
explains the floors, and `python -m tools.docs_tables` writes them there.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.layout import FLOORS, LIBRARIES, NEVER, PROGRAMS, PURE, Module, box, modules

ROOT = Path(__file__).parent.parent
GATEWAY = modules("gateway")
OURS = {*PROGRAMS, "benchmarks", "tests", "tools"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_imports_only_what_the_layout_allows(program: str) -> None:
    for module in modules(program):
        for imported in module.imports:
            if imported.split(".")[0] in OURS:
                assert any(
                    imported == allowed or imported.startswith(allowed + ".")
                    for allowed in PROGRAMS[program]
                ), f"{module.path} imports {imported}"


def test_every_package_of_the_gateway_has_a_floor() -> None:
    boxes = {module.box for module in GATEWAY}
    assert boxes == {name for floor in FLOORS for name in floor}


@pytest.mark.parametrize("module", GATEWAY, ids=lambda module: module.name)
def test_a_module_imports_its_own_package_and_the_floors_below(module: Module) -> None:
    height = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    for imported in module.imports:
        if not imported.startswith("gateway."):
            continue
        target = box(imported)
        if target == module.box:
            continue
        assert height[target] > height[module.box], f"{module.path} imports {imported}: upwards"
        forbidden = NEVER.get(module.box, {}).get(target)
        if forbidden is not None:
            names = module.names_from(imported)
            assert names <= forbidden, f"{module.path} imports {sorted(names)} from {imported}"


@pytest.mark.parametrize("module", GATEWAY, ids=lambda module: module.name)
def test_a_library_is_used_only_in_its_packages(module: Module) -> None:
    for imported in module.imports:
        library = imported.split(".")[0]
        if library in LIBRARIES:
            places = LIBRARIES[library]
            assert module.box in places or module.name in places, f"{module.path} uses {library}"


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_has_no_event_loop_clock_socket_or_file(name: str) -> None:
    [module] = [each for each in GATEWAY if each.name == f"gateway.{name}"]
    for imported in module.imports:
        assert imported.split(".")[0] not in {
            "asyncio", "time", "socket", "os", "io", "pathlib", "threading", "subprocess", "zmq",
            "aiohttp", "sqlite3", "tempfile", "logging", "select",
        }, f"{module.path} imports {imported}"  # fmt: skip
    for node in ast.walk(module.tree):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), module.path
        if isinstance(node, ast.Name):
            assert node.id not in ("open", "print", "input"), module.path


def assigned_attributes(tree: ast.AST) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            for each in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(each, ast.Attribute):
                    yield each


def test_the_composition_root_sets_nothing_after_construction() -> None:
    source = (ROOT / "gateway" / "app.py").read_text()
    assert not [ast.unparse(each) for each in assigned_attributes(ast.parse(source))]


def test_only_the_fleet_changes_a_worker() -> None:
    for module in GATEWAY:
        for each in assigned_attributes(module.tree):
            if isinstance(each.value, ast.Name) and each.value.id in ("worker", "oldest", "known"):
                changed = f"{module.path} sets {ast.unparse(each)}"
                assert module.name == "gateway.workers.fleet" or each.value.id == "known", changed


def test_no_module_is_longer_than_300_lines() -> None:
    for program in (*PROGRAMS, "benchmarks", "tools"):
        for module in modules(program):
            assert module.lines <= 300, module.path


@pytest.mark.parametrize("program", ["protocol", "gateway", "worker", "bindings", "chat", "tools"])
def test_the_first_line_of_each_module_is_a_statement_of_at_most_90_characters(
    program: str,
) -> None:
    for module in modules(program):
        docstring = ast.get_docstring(module.tree)
        assert docstring, f"{module.path} has no docstring"
        first = docstring.splitlines()[0]
        assert len(first) <= 90 and first.rstrip()[-1] in ".:" and "?" not in first, (
            f"{module.path}: {first}"
        )
