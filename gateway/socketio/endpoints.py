"""LoLLMs' Socket.IO endpoints: the table of docs/events.md, in code.

Every request is answered to its sender only, by its reply event and as the Socket.IO
acknowledgement.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.core import Core
from gateway.errors import BadRequest, NothingSelected, RequestError
from gateway.observability.request_log import RequestLog
from gateway.sessions.session import Session
from gateway.socketio import payloads, replies
from gateway.socketio.encoder import PART, EncodedReply
from gateway.socketio.payloads import Activation, Reader, Rejected
from gateway.validation import MAX_NAME, Payload, shown

Reply = dict[str, Any]

MAX_WAITING = 32
"""Unanswered requests of one client; one more is refused."""
LABELS = {"finished": "done", "gone": "left"}
"""Outcomes that the request log calls by another name, the one it has for all requests."""


@dataclass(frozen=True, slots=True)
class Route:
    """The handler of an event, and its reply event."""

    reply: str
    read: Reader
    handler: Callable[[Session, Any], Awaitable[Reply]]
    """Called with the result of `read`."""
    failure: Reply = field(default_factory=dict)
    """Fields of a failure besides success and error."""


class Endpoints:
    """Finds the handler of an event; sends its result, or its error, as the reply."""

    def __init__(self, core: Core) -> None:
        self._core = core
        prompt = payloads.prompt(core.settings.max_prompt)
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

    async def handle(
        self, session: Session, event: str, arguments: tuple[Any, ...], log: RequestLog
    ) -> Reply:
        """Answer one event. Return the acknowledgement."""
        if event == "cancel_generation":
            return self.cancel_generation(session, log)
        if reason := self._too_much(session):
            arguments = (Rejected(reason),)
        if event == "generate_text":
            return await self.generate_text(session, arguments, log)
        if event not in self._routes:
            return self._unknown(session, event, arguments, log)
        route = self._routes[event]
        data: Payload = {}
        reply, end = route.reply, "done"
        try:
            data = payloads.payload(arguments)
            answer = {"success": True, **await route.handler(session, route.read(data))}
            if any(isinstance(value, list) and len(value) > PART for value in answer.values()):
                answer = await _encoded(answer)
        except RequestError as error:
            reason = str(error)
            if event == "select_binding":  # the pages show this text as it is
                reason = f"Couldn't load binding:\n{reason}"
            answer = {"success": False, **route.failure, **_echoed(event, data), "error": reason}
            reply, end = self._failure_event(session, event, reply, answer), "failed"
        session.connection.event(reply, answer)
        log.finish(end, answer)
        return answer

    def _too_much(self, session: Session) -> str:
        """Why this request is refused before its payload is parsed; "" when it is not."""
        if not session.rate_limit.admits():
            rate = f"{self._core.settings.event_rate:,}"
            return f"rate limit exceeded: {rate} events per second; this event was ignored"
        if len(session.handlers) > MAX_WAITING:
            return f"{MAX_WAITING} requests of this client are still being answered; wait for one"
        return ""

    def _failure_event(self, session: Session, event: str, reply: str, answer: Reply) -> str:
        """The event of a failure. add_personality fails as personality_add_failed, and
        activate_personality as both: docs/events.md."""
        if event == "activate_personality":
            session.connection.event(
                "personality_add_failed", {"success": False, "error": answer["error"]}
            )
        return "personality_add_failed" if event == "add_personality" else reply

    def _unknown(
        self, session: Session, event: str, arguments: tuple[Any, ...], log: RequestLog
    ) -> Reply:
        name = shown(event).strip("'\"")
        error = f"there is no event named {shown(event)}"
        if arguments and isinstance(arguments[0], Rejected):
            error = arguments[0].why
        answer = {"success": False, "error": error, "event": name}
        session.connection.event("error", answer)
        log.finish("failed", answer)
        return answer

    # Listings.

    async def bindings(self, session: Session, nothing: None) -> Reply:
        return {"bindings": await self._core.catalog.bindings()}

    async def personalities(self, session: Session, nothing: None) -> Reply:
        return {"personalities": await self._core.zoo.listing()}

    async def languages(self, session: Session, nothing: None) -> Reply:
        return {"available_personalities_languages": await self._core.zoo.languages()}

    async def categories(self, session: Session, language: str | None) -> Reply:
        return {"available_personalities_categories": await self._core.zoo.categories(language)}

    async def names(self, session: Session, wanted: tuple[str | None, str]) -> Reply:
        names = await self._core.zoo.names(*wanted)
        return {"list_available_personalities_names": names}

    async def models(self, session: Session, nothing: None) -> Reply:
        binding, _ = self._core.selections.of(session)
        if not binding:
            raise NothingSelected("No binding selected")
        models = await self._core.catalog.models(binding)
        # The document says available_models, the pages of 2023 read models.
        return {"available_models": models, "models": models}

    async def active_personalities(self, session: Session, nothing: None) -> Reply:
        return {"personalities": await self._core.mounted.names()}

    # Selections.

    async def select_binding(self, session: Session, name: str) -> Reply:
        async with session.selection_lock:
            await self._core.selections.select_binding(session, name)
        return {"binding_name": name}

    async def select_model(self, session: Session, name: str) -> Reply:
        async with session.selection_lock:
            await self._core.selections.select_model(session, name)
        return {"model_name": name}

    async def add_personality(self, session: Session, path: str) -> Reply:
        async with session.selection_lock:
            personality, id = await self._core.mounted.mount(path)
        return {"name": personality.name, "id": id}

    async def activate_personality(self, session: Session, wanted: Activation) -> Reply:
        async with session.selection_lock:
            name, id = await self._core.selections.activate(session, wanted.id, wanted.name)
        return {"name": name, "id": id}

    # The model's vocabulary.

    async def tokenize(self, session: Session, prompt: str) -> Reply:
        selected, notify = self._selected(session), session.notify
        return {"tokens": await self._core.unary.tokenize(*selected, prompt, notify)}

    async def detokenize(self, session: Session, tokens: list[int]) -> Reply:
        selected, notify = self._selected(session), session.notify
        return {"text": await self._core.unary.detokenize(*selected, tokens, notify)}

    async def embed(self, session: Session, prompt: str) -> Reply:
        selected, notify = self._selected(session), session.notify
        return {"embedding": await self._core.unary.embed(*selected, prompt, notify)}

    def _selected(self, session: Session) -> tuple[str, str, str]:
        """Owner, binding and model."""
        return session.owner, *self._core.selections.required(session)

    # Generations.

    async def generate_text(
        self, session: Session, arguments: tuple[Any, ...], log: RequestLog
    ) -> Reply:
        """Return when the generation has ended. Its chunks are sent meanwhile."""
        core = self._core
        generation = core.generations.accept(session.connection)
        log.selected(*core.selections.of(session))
        if session.running or core.sessions.draining:
            generation.end(generation.state.refuse())
        else:
            try:
                request = payloads.generate_text(arguments, core.settings.max_prompt)
            except BadRequest as error:
                generation.end(generation.state.fail(str(error)))
            else:
                session.running = generation
                task = core.generations.start(
                    generation, lambda: core.planning.plan(session, request), session.quota
                )
                task.add_done_callback(lambda _: core.sessions.finished(session, generation))
        outcome = await asyncio.shield(generation.ended)
        answer = replies.acknowledgement(generation.state.id, outcome)
        end = LABELS.get(outcome.label, outcome.label)
        log.finish(end, answer, ours=("id", "code", "reason"))
        return answer

    def cancel_generation(self, session: Session, log: RequestLog) -> Reply:
        """Cancel the running or waiting generation. Every request is answered, also without one."""
        name, answer = replies.CANCELED
        generation, session.running = session.running, None
        if generation and not generation.state.outcome:
            generation.cancel()
        else:
            session.connection.event(name, answer)
        log.finish("done", answer)
        return answer


async def _encoded(answer: Reply) -> Reply:
    """In parts, between which others are served."""
    encoded = EncodedReply(answer)
    for _ in encoded.encode():
        await asyncio.sleep(0)
    return encoded


def _echoed(event: str, data: Payload) -> Reply:
    """A failed selection repeats the requested name or id, if it is a valid one."""
    name = {"select_binding": "binding_name", "select_model": "model_name",
            "activate_personality": "id"}.get(event)  # fmt: skip
    if name is None:
        return {}
    value = data.get(name)
    if isinstance(value, str):
        return {name: value[:MAX_NAME]}
    return {name: value if isinstance(value, int) and value.bit_length() < 64 else None}
