"""Mounted personalities keep their ids and names, also those whose folders are gone."""

import asyncio
import shutil
from pathlib import Path

import pytest

from gateway.errors import PersonalityNotFound
from gateway.personalities import zoo as zoo_module
from gateway.personalities.mounted import Mounted
from gateway.personalities.zoo import Zoo
from gateway.storage.saved_state import SavedState
from tests.support.zoos import add, settle


def test_one_reading_is_enough_for_all_that_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "zoo"
    for name in "abcdefgh":
        add(root, f"english/x/{name}")
    settle(root)
    readings = 0
    folders = zoo_module._folders

    def counted(*arguments: object) -> object:
        nonlocal readings
        readings += 1
        return folders(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(zoo_module, "_folders", counted)

    async def scenario() -> None:
        nonlocal readings
        mounted = Mounted(Zoo(root), SavedState(tmp_path / "state.json"))
        ids = [(await mounted.mount(f"english/x/{name}"))[1] for name in "abcdefgh"]
        assert ids == list(range(8))
        readings = 0
        assert await mounted.names() == list("abcdefgh") and readings == 0
        for name in "bcdef":
            shutil.rmtree(root / "english/x" / name)
        settle(root)
        assert await mounted.names() == list("abcdefgh") and readings == 1
        assert await mounted.name(2) == "c" and (await mounted.get(0)).name == "a"
        with pytest.raises(PersonalityNotFound):
            await mounted.get(2)

    asyncio.run(scenario())
