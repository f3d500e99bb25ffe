"""Which event calls what, and what does it answer?

The table of `docs/events.md`, in code. Every request is answered to its sender
only, by its reply event and as the Socket.IO acknowledgement.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from gateway import payloads
from gateway.catalog import ModelNotFound
from gateway.dispatch import Busy, LoadFailed, NothingSelected, NoWorker
from gateway.generation import Generation, run
from gateway.payloads import BadRequest, Payload
from gateway.personalities import PersonalityNotFound
from gateway.server import Server
from gateway.sessions import Session
from gateway.state import StateNotSaved

log = logging.getLogger(__name__)

Reply = dict[str, Any]
Handler = Callable[[Session, Payload], Awaitable[Reply]]

REFUSALS = (
    BadRequest, Busy, LoadFailed, ModelNotFound, NothingSelected, NoWorker,
    PersonalityNotFound, StateNotSaved,
)  # fmt: skip
"""What a request can run into; each text is one sentence for the client."""


class Endpoints:
    """Finds the handler of an event, and turns what it returns or raises into the reply."""

    def __init__(self, server: Server) -> None:
        self._server = server
        # request: (reply event, what a failure adds to success and error, handler)
        self._table: dict[str, tuple[str, Reply, Handler]] = {
            "list_available_bindings": ("bindings_list", {"bindings": []}, self.bindings),
            "list_available_personalities": (
                "personalities_list", {"personalities": {}}, self.personalities,
            ),
            "list_available_personalities_languages": (
                "available_personalities_languages_list", {}, self.languages,
            ),
            "list_available_personalities_categories": (
                "available_personalities_categories_list", {}, self.categories,
            ),
            "list_available_personalities_names": (
                "list_available_personalities_names_list", {}, self.names,
            ),
            "list_available_models": ("available_models_list", {}, self.models),
            "select_binding": ("select_binding", {}, self.select_binding),
            "select_model": ("select_model", {}, self.select_model),
            "add_personality": ("personality_added", {}, self.add_personality),
            "activate_personality": ("activate_personality", {}, self.activate_personality),
            "list_active_personalities": (
                "active_personalities_list", {"personalities": []}, self.active_personalities,
            ),
            "embed": ("embeded", {"embedding": []}, self.embed),
            "tokenize": ("tokenized", {"tokens": []}, self.tokenize),
            "detokenize": ("detokenized", {"text": ""}, self.detokenize),
        }  # fmt: skip

    def knows(self, event: object) -> bool:
        ours = ("generate_text", "cancel_generation")
        return isinstance(event, str) and (event in self._table or event in ours)

    async def handle(self, session: Session, event: str, arguments: tuple[Any, ...]) -> Reply:
        if event == "generate_text":
            return await self.generate_text(session, arguments)
        if event == "cancel_generation":
            return self.cancel_generation(session)
        if event not in self._table:
            return self._unknown(session, event)
        reply, extra, handler = self._table[event]
        data: Payload = {}
        try:
            data = payloads.payload(arguments)
            answer = {"success": True, **await handler(session, data)}
        except REFUSALS as error:
            answer = {"success": False, **extra, **_echoed(event, data), "error": str(error)}
            reply = self._failure_event(session, event, reply, answer)
        session.outlet.event(reply, answer)
        return answer

    def _failure_event(self, session: Session, event: str, reply: str, answer: Reply) -> str:
        """Two requests fail under another name; one of them under both, says the document."""
        if event == "activate_personality":
            session.outlet.event(
                "personality_add_failed", {"success": False, "error": answer["error"]}
            )
        return "personality_add_failed" if event == "add_personality" else reply

    def _unknown(self, session: Session, event: str) -> Reply:
        error = f"there is no event named {payloads.shown(event)}"
        answer = {"success": False, "error": error, "event": payloads.shown(event).strip("'\"")}
        session.outlet.event("error", answer)
        return answer

    # Listings.

    async def bindings(self, session: Session, data: Payload) -> Reply:
        return {"bindings": await self._server.catalog.bindings()}

    async def personalities(self, session: Session, data: Payload) -> Reply:
        return {"personalities": await self._server.zoo.listing()}

    async def languages(self, session: Session, data: Payload) -> Reply:
        return {"available_personalities_languages": await self._server.zoo.languages()}

    async def categories(self, session: Session, data: Payload) -> Reply:
        language = _optional_text(data, "language")
        return {"available_personalities_categories": await self._server.zoo.categories(language)}

    async def names(self, session: Session, data: Payload) -> Reply:
        language, category = _optional_text(data, "language"), payloads.text(data, "category")
        names = await self._server.zoo.names(language, category)
        return {"list_available_personalities_names": names}

    async def models(self, session: Session, data: Payload) -> Reply:
        binding, _ = self._server.selection(session)
        if not binding:
            raise NothingSelected("No binding selected")
        models = await self._server.catalog.models(binding)
        # The document says available_models, the pages of 2023 read models.
        return {"available_models": models, "models": models}

    async def active_personalities(self, session: Session, data: Payload) -> Reply:
        return {"personalities": await self._server.mounted_names()}

    # Selections.

    async def select_binding(self, session: Session, data: Payload) -> Reply:
        name = payloads.text(data, "binding_name")
        async with session.changing:
            try:
                await self._server.select_binding(session, name)
            except REFUSALS as error:
                # The pages show this text as it is.
                raise NoWorker(f"Couldn't load binding:\n{error}") from None
        return {"binding_name": name}

    async def select_model(self, session: Session, data: Payload) -> Reply:
        name = payloads.text(data, "model_name")
        async with session.changing:
            await self._server.select_model(session, name)
        return {"model_name": name}

    async def add_personality(self, session: Session, data: Payload) -> Reply:
        async with session.changing:
            personality, id = await self._server.mount(payloads.text(data, "path"))
        return {"name": personality.name, "id": id}

    async def activate_personality(self, session: Session, data: Payload) -> Reply:
        async with session.changing:
            name, id = await self._server.activate(session, data)
        return {"name": name, "id": id}

    # The model's vocabulary.

    async def tokenize(self, session: Session, data: Payload) -> Reply:
        prompt = payloads.text(data, "prompt", limit=payloads.MAX_PROMPT)
        return {"tokens": await self._server.tokenize(session, prompt)}

    async def detokenize(self, session: Session, data: Payload) -> Reply:
        return {"text": await self._server.detokenize(session, payloads.token_ids(data))}

    async def embed(self, session: Session, data: Payload) -> Reply:
        prompt = payloads.text(data, "prompt", limit=payloads.MAX_PROMPT)
        return {"embedding": await self._server.embed(session, prompt)}

    # Generations.

    async def generate_text(self, session: Session, arguments: tuple[Any, ...]) -> Reply:
        """Return when it has ended; what the client sees meanwhile goes through its outlet."""
        generation = Generation(session.outlet, self._server.metrics)
        if session.running or self._server.draining:
            generation.tell(generation.stream.refuse())
            return await generation.ended
        session.running = generation
        try:
            request = payloads.generate_text(arguments)
        except BadRequest as error:
            session.running = None
            generation.tell(generation.stream.fail(str(error)))
            return await generation.ended
        generation.task = asyncio.create_task(
            run(
                generation,
                lambda: self._server.plan(session, request),
                self._server.dispatch,
                self._server.link,
                session.allowance,
            )
        )
        generation.task.add_done_callback(lambda _: self._server.leave(session, generation))
        return await asyncio.shield(generation.ended)

    def cancel_generation(self, session: Session) -> Reply:
        """Answered every time; what runs or waits ends here for the client."""
        generation, session.running = session.running, None
        if generation and not generation.stream.end:
            generation.cancel()
        else:
            session.outlet.event(*CANCELED)
        return CANCELED[1]


CANCELED = ("generation_canceled", {"message": "Generation is canceled."})


def _optional_text(data: Payload, name: str) -> str | None:
    return None if data.get(name) is None else payloads.text(data, name)


def _echoed(event: str, data: Payload) -> Reply:
    """A failed selection names what was asked for, where that can be named at all."""
    name = {"select_binding": "binding_name", "select_model": "model_name",
            "activate_personality": "id"}.get(event)  # fmt: skip
    if name is None:
        return {}
    value = data.get(name)
    if isinstance(value, str):
        return {name: value[: payloads.MAX_NAME]}
    return {name: value if isinstance(value, int) and value.bit_length() < 64 else None}
