"""Selections: binding, model and personality of each session, and the defaults.

A selection is the session's own, and the default of later ones: of the same holder, or of all if
the holder is an operator or no token is needed.
"""

from gateway.config.settings import Settings, built_in
from gateway.errors import ModelNotFound, NothingSelected, PersonalityNotFound
from gateway.models.catalog import Catalog
from gateway.personalities.mounted import Mounted
from gateway.scheduling.dispatcher import Dispatcher
from gateway.sessions.resumption import Resumption
from gateway.sessions.session import Session
from gateway.storage.saved_state import SavedState
from gateway.validation import shown


class Selections:
    def __init__(
        self,
        state: SavedState,
        catalog: Catalog,
        mounted: Mounted,
        dispatcher: Dispatcher,
        resumption: Resumption,
    ) -> None:
        self._state = state
        self._catalog = catalog
        self._mounted = mounted
        self._dispatcher = dispatcher
        self._resumption = resumption

    def of(self, session: Session) -> tuple[str, str]:
        """Binding and model, "" for what is not selected."""
        if session.binding is not None:
            return session.binding, session.model or ""
        return self._state.default_of(_chooser(session))

    def default_personality(self, session: Session) -> int | None:
        """Id of the active personality of a session that has activated none."""
        return self._state.active_of(_chooser(session))

    def required(self, session: Session) -> tuple[str, str]:
        """Binding and model. Raise NothingSelected."""
        binding, model = self.of(session)
        if not binding:
            raise NothingSelected("No binding selected")
        if not model:
            raise NothingSelected("No model selected")
        return binding, model

    async def select_binding(self, session: Session, name: str) -> None:
        """Select it for the session and as default, once a worker of it has joined."""
        if name not in self._catalog.binding_names():
            raise ModelNotFound(f"there is no binding named {shown(name)}")
        binding, model = self.of(session)
        chooser = _chooser(session)
        await self._dispatcher.ensure_worker(name, session.notify)
        if name != binding:
            model = self._state.last_model(name, chooser)
        await self._state.change(chooser, default_binding=name, default_model=model)
        session.binding, session.model = name, model
        self._resumption.save(session)

    async def select_model(self, session: Session, name: str) -> None:
        """Select it for the session and as default, once a worker has loaded it."""
        binding, _ = self.of(session)
        if not binding:
            raise NothingSelected("Please select a binding first")
        await self._catalog.check_model(binding, name)
        await self._dispatcher.ensure(binding, name, insist=True, notify=session.notify)
        await self._state.change(_chooser(session), default_binding=binding, default_model=name)
        session.binding, session.model = binding, name
        self._resumption.save(session)

    async def activate(self, session: Session, id: int | None, name: str | None) -> tuple[str, int]:
        """Activate a mounted personality, by id or by name. Return its name and id. Raise
        PersonalityNotFound."""
        names = await self._mounted.names() if name is not None else []
        index = names.index(name) if name in names else id
        if index is None or index >= len(self._mounted):
            raise PersonalityNotFound("Personality ID not valid")
        found = await self._mounted.name(index)
        await self._state.change(_chooser(session), active=index)
        session.active = index
        self._resumption.save(session)
        return found, index


def _chooser(session: Session) -> str:
    """The holder whose defaults the session's selections change; "" is the server."""
    holder = session.quota.holder
    return holder.name if holder.has_own_defaults else ""


async def choose_default(state: SavedState, settings: Settings) -> None:
    """Set the default binding and model: from explicit settings, else the last selection, else
    the built-in defaults. Raise StateNotSaved."""
    given = settings.given
    binding, model = state.default_binding, state.default_model
    if ("binding_name" in given or not binding) and settings.binding_name != binding:
        binding = settings.binding_name
        model = state.last_model(binding)
    shipped = not model and binding == built_in("binding_name")
    if binding and ("model_name" in given or shipped):
        model = settings.model_name
    await state.change(default_binding=binding, default_model=model if binding else "")
