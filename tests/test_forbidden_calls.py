"""No source file calls eval, pickle, a shell or an unsafe YAML loader."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.load_all",
    "yaml.full_load", "yaml.unsafe_load", "marshal.loads", "marshal.load", "shelve.open",
    "subprocess.getoutput", "subprocess.getstatusoutput", "tempfile.mktemp",
}  # fmt: skip
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "jsonpickle", "shelve", "marshal"}


def tree() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    return [ROOT / name for name in listed if (ROOT / name).exists()]


def name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module.split(".")[0] in MODULES:
                yield module
            yield from (f"{module}.{each.name}" for each in node.names
                        if f"{module}.{each.name}" in CALLS)  # fmt: skip
        elif isinstance(node, ast.Call):
            if (name := name_of(node.func)) in CALLS:
                yield name
            for keyword in node.keywords:
                value = keyword.value
                off = isinstance(value, ast.Constant) and value.value is False
                if keyword.arg == "shell" and not off:
                    yield "shell="
                if keyword.arg == "allow_pickle" and not off:
                    yield "allow_pickle="


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "eval('1')", "exec(x)", "import dill as d",
        "os.system('ls')", "from os import system", "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=maybe)", "yaml.load(x, Loader=L)", "np.load(x, allow_pickle=1)",
        "def f():\n  return [exec(y) for y in z]",
    ],
)  # fmt: skip
def test_the_search_finds_them(source: str) -> None:
    assert list(dangers(source))


def test_nothing_in_the_tree_runs_what_somebody_else_wrote() -> None:
    files = tree()
    assert len(files) > 100
    found = {
        (str(path.relative_to(ROOT)), what) for path in files for what in dangers(path.read_text())
    }
    assert not found
