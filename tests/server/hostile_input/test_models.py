"""A corrupt model file is refused with the reason, and other clients are served."""

import os
import random
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")

from benchmarks.random_model import Shape, write
from tests.support.harness import Client, Home, client, home, names, run

FILES = 200
PEBBLE = "pebble-f16.gguf"
SIZES = [0, 1, 7, 9, 2**31 - 1, 2**31, 2**32 - 1]
LONG_SIZES = [*SIZES, 2**32, 2**62, 2**63, 2**64 - 1]
ODD = {"fifo.gguf": "a FIFO, not a file", "folder.gguf": "a directory, not a file",
       "link.gguf": "no model named", "nothing.gguf": "no model named",
       "../outside.gguf": "no model named", "empty.gguf": "not a GGUF file"}  # fmt: skip


def broken(whole: bytes) -> Iterator[bytes]:
    """Copies that are truncated or have changed counts, sizes or bytes; the same in each run."""
    dice = random.Random(3)
    header = whole.rindex(b"output.weight") + 64
    while True:
        data = bytearray(whole)
        at = dice.randrange(8, header - 8)
        match dice.randrange(6):
            case 0:
                del data[dice.randrange(len(data)) :]
            case 1:
                data[at : at + 8] = struct.pack("<Q", dice.choice(LONG_SIZES))
            case 2:
                data[at : at + 4] = struct.pack("<I", dice.choice(SIZES))
            case 3:
                for _ in range(dice.randint(1, 20)):
                    data[dice.randrange(header)] = dice.randrange(256)
            case 4:
                del data[at : at + dice.randint(1, 64)]
            case 5:
                for _ in range(200):
                    data[dice.randrange(len(data))] = dice.randrange(256)
        yield bytes(data)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("models")
    models = folder / "models" / "llama_cpp"
    models.mkdir(parents=True)
    whole = write(folder / "whole.gguf", Shape()).read_bytes()
    for number, data in zip(range(FILES), broken(whole), strict=False):
        (models / f"{number:03}.gguf").write_bytes(data)
    (folder / "outside.gguf").write_bytes(whole)
    (models / "link.gguf").symlink_to(folder / "outside.gguf")
    (models / "folder.gguf").mkdir()
    (models / "empty.gguf").touch()
    os.mkfifo(models / "fifo.gguf")
    (folder / "config.yaml").write_text("bindings: {llama_cpp: {processes: 2, n_ctx: 256}}")
    with home(folder) as opened:
        opened.launch()
        yield opened


async def answers(connected: Client, **fields: object) -> bool:
    events = await connected.generate("Once", n_predicts=3, **fields)
    return names(events)[-1] == "text_generated"


@pytest.mark.timeout(300)
def test_two_hundred_broken_models(served: Home, capsys: pytest.CaptureFixture[str]) -> None:
    counts: Counter[str] = Counter(files=FILES)
    gateway = served.gateway_pid()

    async def scenario() -> None:
        async with client(served) as connected, client(served) as other:
            choice = await other.sio.call("select_model", {"model_name": PEBBLE}, timeout=60)
            assert choice["success"]
            for number in range(FILES):
                name = f"{number:03}.gguf"
                said = await connected.sio.call("select_model", {"model_name": name}, timeout=60)
                if said["success"]:
                    counts["loaded all the same"] += 1
                    counts["and generate"] += await answers(connected)
                else:
                    counts["refused with the reason"] += 1
                    assert name in said["error"] and len(said["error"]) < 400, said
                    assert str(served.folder) not in said["error"] and "\n" not in said["error"]
                if number % 20 == 0:
                    assert await answers(other), f"after {name}"
            for name, reason in ODD.items():
                said = await connected.sio.call("select_model", {"model_name": name}, timeout=60)
                assert not said["success"] and reason in said["error"], said
                assert str(served.folder) not in said["error"]
            await connected.sio.call("select_model", {"model_name": PEBBLE}, timeout=60)
            assert await answers(connected)

    run(scenario(), 280)
    assert served.gateway_pid() == gateway and "Traceback" not in served.log("gateway")
    counts["workers that died"] = served.log("gateway").count("was killed by")
    assert counts["loaded all the same"] + counts["refused with the reason"] == FILES
    with capsys.disabled():
        print("\nbroken models: " + ", ".join(f"{n} {what}" for what, n in counts.items()))


def test_a_model_that_becomes_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    """It may become one after the check by the gateway and before the worker opens it."""
    from bindings.llama_cpp import gguf_header
    from worker.binding import BindingError

    os.mkfifo(tmp_path / "sudden.gguf")
    with pytest.raises(BindingError, match=r"sudden\.gguf.*not a regular file"):
        gguf_header.read(tmp_path / "sudden.gguf")
