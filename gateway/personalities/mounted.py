"""The mounted personalities: an append-only list whose indexes are the clients' ids."""

from collections.abc import Sequence

from gateway.personalities.personality import Personality
from gateway.personalities.zoo import Zoo
from gateway.storage.saved_state import SavedState


class Mounted:
    def __init__(self, zoo: Zoo, state: SavedState) -> None:
        self._zoo = zoo
        self._state = state

    def __len__(self) -> int:
        return len(self._state.mounted)

    async def mount(self, path: str) -> tuple[Personality, int]:
        """Append it; one that is there already keeps its id.

        Raise PersonalityNotFound or StateNotSaved.
        """
        personality = await self._zoo.get(path)
        return personality, await self._state.mount(personality.path)

    async def get(self, id: int) -> Personality:
        """`id` is less than the length. Raise PersonalityNotFound when its folder is gone."""
        return await self._zoo.get(self._state.mounted[id])

    async def name(self, id: int) -> str:
        [name] = await self._names([self._state.mounted[id]])
        return name

    async def names(self) -> list[str]:
        """By id."""
        return await self._names(self._state.mounted)

    async def _names(self, paths: Sequence[str]) -> list[str]:
        found = zip(paths, await self._zoo.get_all(paths), strict=True)
        # The folder of one that was not found is gone.
        return [one.name if one else path.rpartition("/")[2] for path, one in found]
