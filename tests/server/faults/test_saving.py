"""A full or read-only disk: the client gets an error, nothing changes, the server goes on."""

from pathlib import Path
from typing import Any

import pytest

from tests.server.contract.test_generation import select
from tests.support.harness import Client, Home, client, run
from tests.support.invariants import asked, checked, saved, watched


async def choose(connected: Client, model: str) -> Any:
    return await connected.ask("select_model", {"model_name": model}, reply="select_model")


def full(folder: Path) -> None:
    """Writes of the state file fail with ENOSPC."""
    (folder / "state.json.new").symlink_to("/dev/full")


def blocked(folder: Path) -> None:
    """The state file cannot be created. Like a read-only disk, but it works for root, too."""
    (folder / "state.json.new").mkdir()


def free(folder: Path) -> None:
    new = folder / "state.json.new"
    if new.is_symlink():
        new.unlink()
    elif new.exists():
        new.rmdir()


@pytest.mark.parametrize("trouble", [full, blocked])
def test_what_cannot_be_saved_is_said_and_not_done(server: Home, trouble: Any) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            await select(connected, "single", "one")
            async with watched(server):
                trouble(server.folder)
                try:
                    answer = await choose(connected, "two")
                finally:
                    free(server.folder)
                assert answer["success"] is False, answer
                assert "saved" in answer["error"] and "Traceback" not in answer["error"]
                assert str(server.folder) not in answer["error"], answer
                end, events = await asked(connected, "x", n_predicts=3)  # uses the old selection
                assert end == "text_generated" and checked(events)["text"] == "one0 one1 one2 "
            assert (await choose(connected, "two"))["success"] is True
            assert saved(server)["default_model"] == "two"

    run(scenario())
