"""The gateway never imports bindings, and folders of another user are refused."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from protocol.run_folder import run_folder
from tests.support.harness import PATIENCE, ROOT, Home, client, home, run

ECHO = {"bindings_path": str(ROOT / "bindings"), "binding_name": "echo", "model_name": "echo"}
TRAP = """
import os
from pathlib import Path

with open(r"{marks}/" + "{name}." + str(os.getpid()), "w"):
    pass
"""
BINDING = """
from worker.binding import Binding, Piece


class Trap(Binding):
    def load(self, model):
        pass

    def generate(self, request):
        yield Piece("done")


binding = Trap
"""


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


def test_nothing_of_a_personality_runs_and_a_binding_runs_in_its_worker_only(
    tmp_path: Path, marks: Path
) -> None:
    zoo = tmp_path / "zoo" / "english" / "fun" / "trap"
    shutil.copytree(ROOT / "personalities" / "english" / "fun" / "pirate", zoo)
    (zoo / "scripts").mkdir(exist_ok=True)
    for place in (
        zoo / "scripts" / "processor.py", zoo / "scripts" / "install.py", zoo / "install.py",
        zoo / "__init__.py", zoo.parent / "__init__.py", zoo.parent.parent / "install.py",
    ):  # fmt: skip
        place.write_text(TRAP.format(marks=marks, name="personality"))
    trap = tmp_path / "bindings" / "trap"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text(TRAP.format(marks=marks, name="binding") + BINDING)
    (trap / "install.py").write_text(TRAP.format(marks=marks, name="install"))
    (trap / "binding_card.yaml").write_text(f"name: trap\nwrites: {marks}\n")
    (trap / "models.yaml").write_text("- {filename: any, model_type: api}\n")

    async def look_around(server: Home) -> None:
        async with client(server) as one:
            listed = await one.ask("list_available_bindings", reply="bindings_list")
            assert [each["name"] for each in listed["bindings"]] == ["trap"]
            await one.ask("list_available_personalities", reply="personalities_list")
            added = await one.ask(
                "add_personality", {"path": "english/fun/trap"}, reply="personality_added"
            )
            assert added["success"], added
            await one.ask("activate_personality", {"id": 0}, reply="activate_personality")

    async def generate(server: Home) -> None:
        async with client(server) as one:
            await one.ask("select_binding", {"binding_name": "trap"}, reply="select_binding")
            await one.ask("select_model", {"model_name": "any"}, reply="select_model")
            assert (await one.generate("x", personality=0))[-1][0] == "text_generated"

    settings = {"personalities_path": str(tmp_path / "zoo"), "bindings_path": str(trap.parent)}
    with home(tmp_path / "home", **settings, binding_name="", model_name="") as server:
        gateway = server.gateway()
        run(look_around(server))
        assert not list(marks.iterdir())
        worker = server.worker("trap", "--allow", "writes")
        run(generate(server))
        assert [mark.name for mark in marks.iterdir()] == [f"binding.{worker.pid}"]
        assert gateway.poll() is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("module", ["gateway", "gateway.launch", "worker"])
def test_a_run_folder_of_somebody_else_is_used_by_nobody(tmp_path: Path, module: str) -> None:
    with home(tmp_path, **ECHO) as server:
        run_path = run_folder(tmp_path)
        run_path.mkdir(mode=0o777)
        os.chown(run_path, 65534, 65534)
        command = [sys.executable, "-m", module, *(["echo"] if module == "worker" else [])]
        process = server.start(*command, name=module)
        assert process.wait(PATIENCE) in (1, 78)
        said = server.log(module)
        assert "belongs to another user" in said and "Traceback" not in said
        assert said.count("\n") == 1 and not list(run_path.iterdir())


@pytest.mark.parametrize("module", ["gateway", "gateway.launch"])
def test_the_run_folder_is_its_owner_s_alone_whatever_the_umask(
    tmp_path: Path, module: str
) -> None:
    before = os.umask(0)
    try:
        with home(tmp_path, **ECHO) as server:
            if module == "gateway":
                server.gateway()
            else:
                server.launch()
            assert run_folder(tmp_path).stat().st_mode & 0o777 == 0o700
            for path in run_folder(tmp_path).rglob("*"):
                assert path.stat().st_mode & 0o077 == 0, path
    finally:
        os.umask(before)
