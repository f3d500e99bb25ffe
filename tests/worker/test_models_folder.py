"""A worker on another machine offers the models of its own folder, and loads them by name."""

import os
from pathlib import Path

import pytest

from protocol import PROTOCOL_VERSION
from protocol.codec import MAX_MODELS, encode
from protocol.errors import ErrorCode
from protocol.messages import Failed, Hello, Load, Loaded
from tests.worker.test_pump import Letters, Script
from worker.binding import Model
from worker.models_folder import ModelsFolder
from worker.pump import Pump

GGUF = {"extensions": [".GGUF"]}


def test_models_are_listed_with_their_sizes(tmp_path: Path) -> None:
    for name, size in {"b.gguf": 3, "a.GGUF": 2, "readme.md": 1, ".c.gguf": 1, "d.bin": 1}.items():
        (tmp_path / name).write_bytes(b"x" * size)
    assert ModelsFolder(tmp_path, GGUF).list() == {"a.GGUF": 2, "b.gguf": 3}
    assert ModelsFolder(tmp_path, {}).list() == {"a.GGUF": 2, "b.gguf": 3, "d.bin": 1}
    assert ModelsFolder(tmp_path, {"extensions": []}).list() == {}


def test_a_folder_that_is_not_there_is_empty_and_one_that_grows_is_read_anew(
    tmp_path: Path,
) -> None:
    folder = ModelsFolder(tmp_path / "later", GGUF)
    assert folder.list() == {}
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "m.gguf").touch()
    assert folder.list() == {"m.gguf": 0}


def test_what_cannot_be_loaded_or_shown_is_not_listed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.gguf")
    (tmp_path / "folder.gguf").mkdir()
    (tmp_path / "dangling.gguf").symlink_to("nowhere")
    (tmp_path / "with\nline.gguf").touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.gguf")).touch()
    (tmp_path / "link.gguf").symlink_to("good.gguf")
    (tmp_path / "good.gguf").write_bytes(b"xx")
    assert ModelsFolder(tmp_path, GGUF).list() == {"good.gguf": 2, "link.gguf": 2}


@pytest.mark.parametrize("length", [10, 200])
def test_the_list_fits_into_a_hello(
    tmp_path: Path, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(MAX_MODELS + 1):
        (tmp_path / f"{number:0{length}}.gguf").touch()
    folder = ModelsFolder(tmp_path, GGUF)
    listed = folder.list()
    assert 100 < len(listed) <= MAX_MODELS
    assert len(encode(Hello(PROTOCOL_VERSION, "b", 7, 1, models=listed))) < 2**15 + 1000
    assert folder.list() == listed
    assert caplog.text.count("are offered") == 1


class Loading(Letters):
    """Remembers what it was asked to load."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[Path | None] = []

    def load(self, model: Model) -> None:
        self.paths.append(model.path)


def loaded(folder: Path | None, model: str, path: str) -> Path | None:
    """The path that the binding gets."""
    binding = Loading()
    script = Script(binding)
    script.pump = Pump(binding, script._receive, models=folder)
    script.run(Load(1, model, path))
    assert isinstance(script.answer(1), Loaded)
    [found] = binding.paths
    return found


def test_a_model_of_its_own_folder_is_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").touch()
    assert loaded(tmp_path, "m.gguf", "") == tmp_path / "m.gguf"
    assert loaded(tmp_path, "m.gguf", "/on/the/gateway/m.gguf") == tmp_path / "m.gguf"


@pytest.mark.parametrize("model", ["api", "owner/api", "..", ""])
def test_a_model_without_a_file_has_none_there_either(tmp_path: Path, model: str) -> None:
    assert loaded(tmp_path, model, "") is None


def test_a_worker_of_this_machine_loads_what_the_gateway_found() -> None:
    assert loaded(None, "m", "/models/m") == Path("/models/m")
    assert loaded(None, "m", "") is None


def test_a_path_is_no_name_of_a_model(tmp_path: Path) -> None:
    script = Script(Loading())
    script.pump = Pump(Loading(), script._receive, models=tmp_path)
    script.run(Load(1, "../m", "/models/m"))
    answer = script.answer(1)
    assert isinstance(answer, Failed) and answer.code == ErrorCode.MODEL_NOT_FOUND
