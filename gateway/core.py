"""Whose selection serves a request, and what does changing it mean?

The server's own state: what is selected by default, which personalities are
mounted, which sessions are connected. `gateway.socketio.endpoints` calls it, and it asks
zoo, catalogue, dispatch and link.
"""

import logging
import math
import time
from collections import Counter
from datetime import datetime
from typing import Any, TypeVar

from gateway.config.settings import Settings, built_in
from gateway.errors import (
    BadRequest,
    LoadFailed,
    ModelNotFound,
    NothingSelected,
    PersonalityNotFound,
)
from gateway.inference.generation import Generation
from gateway.inference.plan import Plan
from gateway.models.catalog import Catalog
from gateway.observability.metrics import Metrics, Now
from gateway.personalities import prompts
from gateway.personalities.personality import Personality
from gateway.personalities.zoo import Zoo
from gateway.scheduling.dispatcher import Dispatch
from gateway.scheduling.quotas import Allowances
from gateway.sessions.resumption import Returning
from gateway.sessions.session import Session
from gateway.socketio import payloads
from gateway.socketio.flusher import Desk
from gateway.socketio.payloads import Activation, GenerateText
from gateway.storage.discussions import History
from gateway.storage.saved_state import SavedState
from gateway.validation import shown
from gateway.workers.link import Link
from protocol.messages import (
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Failed,
    Load,
    Tokenize,
    Tokenized,
)
from protocol.sampling import Sampling

log = logging.getLogger(__name__)

Asked = TypeVar("Asked", Tokenized, Detokenized, Embedded)


class Server:
    def __init__(
        self, settings: Settings, state: SavedState, zoo: Zoo, catalog: Catalog, dispatch: Dispatch
    ) -> None:
        self.settings = settings
        self.state = state
        self.zoo = zoo
        self.catalog = catalog
        self.dispatch = dispatch
        self.link: Link
        self.metrics = Metrics(self._now)
        self.desk = Desk(settings.client_limit, self.metrics)
        self.sessions: dict[str, Session] = {}
        self.allowances = Allowances()
        self.draining = False
        self.began = time.monotonic()
        history = (
            History(settings.home / "discussions.sqlite") if settings.keep_discussions else None
        )
        self.returning = Returning(settings.resume_window, history, self.sessions)

    # Selections.

    async def choose_default(self) -> None:
        """What was asked for at the start wins over what was selected last, and that over
        what is built in. Raise StateNotSaved."""
        given, settings = self.settings.given, self.settings
        binding, model = self.state.default_binding, self.state.default_model
        if ("binding_name" in given or not binding) and settings.binding_name != binding:
            binding = settings.binding_name
            model = self.state.last_model(binding)
        shipped = not model and binding == built_in("binding_name")
        if binding and ("model_name" in given or shipped):
            model = settings.model_name
        await self.state.change(default_binding=binding, default_model=model if binding else "")

    def selection(self, session: Session | None = None) -> tuple[str, str]:
        """Binding and model, "" for what is not selected."""
        if session and session.binding is not None:
            return session.binding, session.model or ""
        return self.state.default_binding, self.state.default_model

    async def select_binding(self, session: Session, name: str) -> None:
        """The session's own, and the server's default, once a worker of it answers."""
        if name not in self.catalog.binding_names():
            raise ModelNotFound(f"there is no binding named {shown(name)}")
        binding, model = self.selection(session)
        await self.dispatch.ensure_worker(name)
        if name != binding:
            model = self.state.last_model(name)
        await self.state.change(default_binding=name, default_model=model)
        session.binding, session.model = name, model
        self.returning.note(session)

    async def select_model(self, session: Session, name: str) -> None:
        binding, _ = self.selection(session)
        if not binding:
            raise NothingSelected("Please select a binding first")
        await self.catalog.find_model(binding, name)
        await self.dispatch.ensure(binding, name, insist=True)
        await self.state.change(default_binding=binding, default_model=name)
        session.binding, session.model = binding, name
        self.returning.note(session)

    def wanted(self, binding: str) -> str:
        """The default model, for a worker of the default binding that holds nothing yet."""
        return self.state.default_model if binding == self.state.default_binding else ""

    async def load_recipe(self, binding: str, model: str) -> Any:
        try:
            path = await self.catalog.find_model(binding, model)
        except ModelNotFound as error:
            raise LoadFailed(str(error)) from None
        settings = self.settings.told(binding)
        if self.settings.ctx_size:
            settings["n_ctx"] = self.settings.ctx_size
        settings["sharers"] = max(1, self.dispatch.fleet.sharers())
        return lambda id: Load(id, model, str(path or ""), settings)

    # Personalities.

    async def mount(self, path: str) -> tuple[Personality, int]:
        """Append it to the mounted ones; one that is there already keeps its id."""
        personality = await self.zoo.get(path)
        return personality, await self.state.mount(personality.path)

    async def mounted_names(self) -> list[str]:
        return [await self._name(path) for path in self.state.mounted]

    async def _name(self, path: str) -> str:
        try:
            return (await self.zoo.get(path)).name
        except PersonalityNotFound:
            return path.rpartition("/")[2]  # it was there when it was mounted

    async def activate(self, session: Session, wanted: Activation) -> tuple[str, int]:
        id = await self._id(wanted)
        name = await self._name(self.state.mounted[id])
        await self.state.change(active=id)
        session.active = id
        self.returning.note(session)
        return name, id

    async def _id(self, wanted: Activation) -> int:
        names = await self.mounted_names() if wanted.name is not None else []
        id = names.index(wanted.name) if wanted.name in names else wanted.id
        if id is None or id >= len(self.state.mounted):
            raise PersonalityNotFound("Personality ID not valid")
        return id

    # The model's vocabulary.

    async def tokenize(self, session: Session, text: str) -> list[int]:
        return (await self._ask(session, lambda id: Tokenize(id, text), Tokenized)).tokens

    async def detokenize(self, session: Session, tokens: list[int]) -> str:
        return (await self._ask(session, lambda id: Detokenize(id, tokens), Detokenized)).text

    async def embed(self, session: Session, text: str) -> list[float]:
        vector = (await self._ask(session, lambda id: Embed(id, text), Embedded)).vector
        if not all(map(math.isfinite, vector)):
            raise LoadFailed("the model's embedding is not made of finite numbers")
        return vector

    async def _ask(self, session: Session, build: Any, kind: type[Asked]) -> Asked:
        worker = await self.dispatch.ensure(*self._selected(session))
        async with self.link.request(worker, build) as call:
            answer = await call.answer
        if isinstance(answer, Failed):
            raise LoadFailed(answer.error)
        if not isinstance(answer, kind):
            raise LoadFailed(f"the worker answered with {type(answer).__name__}")
        return answer

    def _selected(self, session: Session) -> tuple[str, str]:
        binding, model = self.selection(session)
        if not binding:
            raise NothingSelected("No binding selected")
        if not model:
            raise NothingSelected("No model selected")
        return binding, model

    # Generations.

    async def plan(self, session: Session, request: GenerateText) -> Plan:
        """Settle what a request means now; a selection that was asked for before it comes first."""
        async with session.changing:
            binding, model = self._selected(session)
        personality = await self._personality(request.personality)
        discussion = session.discussion(personality.path) if personality else None
        self.returning.note(session)
        conditioning, blocks, prompt = prompts.compose(
            personality, discussion.blocks(personality) if discussion and personality else [],
            request.prompt, datetime.now(),
        )  # fmt: skip
        preset = personality.sampling if personality else {}
        sampling = Sampling(**{**preset, **request.sampling})
        return Plan(
            binding,
            model,
            prompt,
            n_predict=request.n_predict
            or (personality.n_predict if personality else None)
            or self.settings.n_predict,
            sampling=sampling,
            conditioning=conditioning,
            blocks=blocks,
            turns=[*discussion.turns(), request.prompt] if discussion else [],
            stop=[*request.stop, *(personality.anti_prompts if personality else ())],
            remember=lambda answer: self._remember(session, personality, request.prompt, answer),
            # Log probabilities come with the end, and those of a dead worker never.
            continues=not self.settings.no_continue and not sampling.logprobs,
        )

    def _remember(
        self, session: Session, personality: Personality | None, prompt: str, answer: str
    ) -> None:
        if personality and answer:
            session.discussion(personality.path).add(prompt, answer)
            self.returning.said(session, personality.path, prompt, answer)

    async def _personality(self, id: int) -> Personality | None:
        if id == payloads.RAW:
            return None
        if id >= len(self.state.mounted):
            count = len(self.state.mounted)
            raise BadRequest(f"personality {id} is not mounted: there are {count}")
        try:
            return await self.zoo.get(self.state.mounted[id])
        except PersonalityNotFound as error:
            raise BadRequest(str(error)) from None

    # Sessions.

    def leave(self, session: Session, generation: Generation) -> None:
        """Its generation is over: the session may begin the next."""
        if session.running is generation:
            session.running = None
        if session.returns:
            session.last = generation
            self.returning.note(session)

    def _now(self) -> Now:
        waiting = self.dispatch.waiting
        here = [*self.sessions.values(), *self.returning.away]
        busy = sum(session.running is not None for session in here)
        workers = Counter(worker.binding for worker in self.dispatch.fleet.all())
        return Now(len(self.sessions), max(0, busy - waiting), waiting, workers)

    def cold(self) -> bool:
        """Nobody holds the default model, and loading it would take nothing from anybody."""
        binding, model = self.selection()
        workers = self.dispatch.fleet.of(binding)
        idle = binding in self.dispatch.asleep or any(w.model or w.loading for w in workers)
        return bool(binding and model) and not idle

    def unready(self) -> str:
        """Why the default model cannot serve at the moment; "" when it can."""
        binding, model = self.selection()
        if not binding or not model:
            return "no model is selected"
        if self.draining:
            return "the server is stopping"
        holders = self.dispatch.fleet.holders(binding, model)
        if binding in self.dispatch.asleep or not all(map(self.link.silent, holders)):
            return ""
        if holders:
            return f"the worker that holds {model} does not answer"
        workers = self.dispatch.fleet.of(binding)
        if any(worker.loading == model for worker in workers):
            return f"loading {model}"
        for key in ((binding, model), (binding, "")):
            if error := self.dispatch.circuits.error(key):
                return error
        return f"no worker of the binding {binding} holds {model}"
