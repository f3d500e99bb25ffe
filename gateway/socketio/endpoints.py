"""Which event calls what, and what does it answer?

The table of `docs/events.md`, in code. Every request is answered to its sender
only, by its reply event and as the Socket.IO acknowledgement.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.core import Server
from gateway.errors import (
    BadRequest,
    NothingSelected,
    RequestError,
)
from gateway.inference.generation import Generation, run
from gateway.sessions.session import Session
from gateway.socketio import payloads
from gateway.socketio.payloads import Activation, Reader, Unread
from gateway.validation import MAX_NAME, Payload, shown

log = logging.getLogger(__name__)

Reply = dict[str, Any]

MAX_WAITING = 32
"""Requests of one client that are being answered; one more is refused."""


@dataclass(frozen=True, slots=True)
class Route:
    """From a request to its reply."""

    reply: str
    read: Reader
    handler: Callable[[Session, Any], Awaitable[Reply]]
    """Is given what `read` has made of the payload."""
    failure: Reply = field(default_factory=dict)
    """What a failure has beside success and error."""


class Endpoints:
    """Finds the handler of an event, and turns what it returns or raises into the reply."""

    def __init__(self, server: Server) -> None:
        self._server = server
        prompt = payloads.prompt(server.settings.max_prompt)
        self._routes = {
            "list_available_bindings": Route(
                "bindings_list", payloads.nothing, self.bindings, {"bindings": []}
            ),
            "list_available_personalities": Route(
                "personalities_list", payloads.nothing, self.personalities, {"personalities": {}}
            ),
            "list_available_personalities_languages": Route(
                "available_personalities_languages_list", payloads.nothing, self.languages
            ),
            "list_available_personalities_categories": Route(
                "available_personalities_categories_list",
                payloads.optional("language"),
                self.categories,
            ),
            "list_available_personalities_names": Route(
                "list_available_personalities_names_list", payloads.names, self.names
            ),
            "list_available_models": Route("available_models_list", payloads.nothing, self.models),
            "select_binding": Route(
                "select_binding", payloads.named("binding_name"), self.select_binding
            ),
            "select_model": Route("select_model", payloads.named("model_name"), self.select_model),
            "add_personality": Route(
                "personality_added", payloads.named("path"), self.add_personality
            ),
            "activate_personality": Route(
                "activate_personality", payloads.activation, self.activate_personality
            ),
            "list_active_personalities": Route(
                "active_personalities_list",
                payloads.nothing,
                self.active_personalities,
                {"personalities": []},
            ),
            "embed": Route("embeded", prompt, self.embed, {"embedding": []}),
            "tokenize": Route("tokenized", prompt, self.tokenize, {"tokens": []}),
            "detokenize": Route("detokenized", payloads.token_ids, self.detokenize, {"text": ""}),
        }

    def knows(self, event: str) -> bool:
        return event in self._routes or event in ("generate_text", "cancel_generation")

    async def handle(self, session: Session, event: str, arguments: tuple[Any, ...]) -> Reply:
        if event == "cancel_generation":
            return self.cancel_generation(session)
        if reason := self._too_much(session):
            arguments = (Unread(reason),)
        if event == "generate_text":
            return await self.generate_text(session, arguments)
        if event not in self._routes:
            return self._unknown(session, event, arguments)
        route = self._routes[event]
        data: Payload = {}
        reply = route.reply
        try:
            data = payloads.payload(arguments)
            answer = {"success": True, **await route.handler(session, route.read(data))}
        except RequestError as error:
            reason = str(error)
            if event == "select_binding":  # the pages show this text as it is
                reason = f"Couldn't load binding:\n{reason}"
            answer = {"success": False, **route.failure, **_echoed(event, data), "error": reason}
            reply = self._failure_event(session, event, reply, answer)
        session.outlet.event(reply, answer)
        return answer

    def _too_much(self, session: Session) -> str:
        """Why this client's request is not looked at; "" when it is."""
        if not session.pace.admits():
            rate = f"{self._server.settings.event_rate:,}"
            return f"a client may send {rate} events a second: this one was not looked at"
        if len(session.handlers) > MAX_WAITING:
            return f"{MAX_WAITING} requests of this client wait for their answers: wait, too"
        return ""

    def _failure_event(self, session: Session, event: str, reply: str, answer: Reply) -> str:
        """Two requests fail under another name; one of them under both, says the document."""
        if event == "activate_personality":
            session.outlet.event(
                "personality_add_failed", {"success": False, "error": answer["error"]}
            )
        return "personality_add_failed" if event == "add_personality" else reply

    def _unknown(self, session: Session, event: str, arguments: tuple[Any, ...]) -> Reply:
        name = shown(event).strip("'\"")
        error = f"there is no event named {shown(event)}"
        if arguments and isinstance(arguments[0], Unread):
            error = arguments[0].why
        answer = {"success": False, "error": error, "event": name}
        session.outlet.event("error", answer)
        return answer

    # Listings.

    async def bindings(self, session: Session, nothing: None) -> Reply:
        return {"bindings": await self._server.catalog.bindings()}

    async def personalities(self, session: Session, nothing: None) -> Reply:
        return {"personalities": await self._server.zoo.listing()}

    async def languages(self, session: Session, nothing: None) -> Reply:
        return {"available_personalities_languages": await self._server.zoo.languages()}

    async def categories(self, session: Session, language: str | None) -> Reply:
        return {"available_personalities_categories": await self._server.zoo.categories(language)}

    async def names(self, session: Session, wanted: tuple[str | None, str]) -> Reply:
        names = await self._server.zoo.names(*wanted)
        return {"list_available_personalities_names": names}

    async def models(self, session: Session, nothing: None) -> Reply:
        binding, _ = self._server.selection(session)
        if not binding:
            raise NothingSelected("No binding selected")
        models = await self._server.catalog.models(binding)
        # The document says available_models, the pages of 2023 read models.
        return {"available_models": models, "models": models}

    async def active_personalities(self, session: Session, nothing: None) -> Reply:
        return {"personalities": await self._server.mounted_names()}

    # Selections.

    async def select_binding(self, session: Session, name: str) -> Reply:
        async with session.changing:
            await self._server.select_binding(session, name)
        return {"binding_name": name}

    async def select_model(self, session: Session, name: str) -> Reply:
        async with session.changing:
            await self._server.select_model(session, name)
        return {"model_name": name}

    async def add_personality(self, session: Session, path: str) -> Reply:
        async with session.changing:
            personality, id = await self._server.mount(path)
        return {"name": personality.name, "id": id}

    async def activate_personality(self, session: Session, wanted: Activation) -> Reply:
        async with session.changing:
            name, id = await self._server.activate(session, wanted)
        return {"name": name, "id": id}

    # The model's vocabulary.

    async def tokenize(self, session: Session, prompt: str) -> Reply:
        return {"tokens": await self._server.tokenize(session, prompt)}

    async def detokenize(self, session: Session, tokens: list[int]) -> Reply:
        return {"text": await self._server.detokenize(session, tokens)}

    async def embed(self, session: Session, prompt: str) -> Reply:
        return {"embedding": await self._server.embed(session, prompt)}

    # Generations.

    async def generate_text(self, session: Session, arguments: tuple[Any, ...]) -> Reply:
        """Return when it has ended; what the client sees meanwhile goes through its outlet."""
        generation = Generation(session.outlet, self._server.metrics)
        if session.running or self._server.draining:
            generation.tell(generation.stream.refuse())
            return await generation.ended
        try:
            request = payloads.generate_text(arguments, self._server.settings.max_prompt)
        except BadRequest as error:
            generation.tell(generation.stream.fail(str(error)))
            return await generation.ended
        session.running = generation
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


def _echoed(event: str, data: Payload) -> Reply:
    """A failed selection names what was asked for, where that can be named at all."""
    name = {"select_binding": "binding_name", "select_model": "model_name",
            "activate_personality": "id"}.get(event)  # fmt: skip
    if name is None:
        return {}
    value = data.get(name)
    if isinstance(value, str):
        return {name: value[:MAX_NAME]}
    return {name: value if isinstance(value, int) and value.bit_length() < 64 else None}
