"""Planning: resolve a request for text into a plan, by the selections of its session."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.config.settings import Settings
from gateway.errors import BadRequest, PersonalityNotFound
from gateway.inference.plan import Plan
from gateway.personalities.mounted import Mounted
from gateway.personalities.personality import Personality
from gateway.personalities.prompts import compose
from gateway.sessions.resumption import Resumption
from gateway.sessions.selections import Selections
from gateway.sessions.session import Session
from protocol.sampling import Sampling

RAW = -1
"""The personality id for none: the prompt goes to the model unchanged."""


@dataclass(frozen=True, slots=True)
class GenerateText:
    prompt: str
    personality: int
    n_predict: int | None
    sampling: dict[str, Any]
    """Parameters of the request, checked. Others come from the personality or the defaults."""
    stop: tuple[str, ...]


class Planning:
    def __init__(
        self,
        selections: Selections,
        mounted: Mounted,
        resumption: Resumption,
        settings: Settings,
    ) -> None:
        self._selections = selections
        self._mounted = mounted
        self._resumption = resumption
        self._n_predict = settings.n_predict
        self._resumable = not settings.no_continue

    async def plan(self, session: Session, request: GenerateText) -> Plan:
        """Wait for selections that the client requested before, then resolve the request."""
        async with session.selection_lock:
            binding, model = self._selections.required(session)
        personality = await self._personality(request.personality)
        discussion = session.discussion(personality.path) if personality else None
        self._resumption.save(session)
        conditioning, blocks, prompt = compose(
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
            or self._n_predict,
            sampling=sampling,
            conditioning=conditioning,
            blocks=blocks,
            turns=[*discussion.turns(), request.prompt] if discussion else [],
            stop=[*request.stop, *(personality.anti_prompts if personality else ())],
            holder=_digest(session.quota.holder.name),
            remember=lambda answer: self._remember(session, personality, request.prompt, answer),
            # Log probabilities come with the end: those of a dead worker are lost.
            resumable=self._resumable and not sampling.logprobs,
            owner=session.owner,
            session=session.token or session.sid,
        )

    def _remember(
        self, session: Session, personality: Personality | None, prompt: str, answer: str
    ) -> None:
        if personality and answer:
            session.discussion(personality.path).add(prompt, answer)
            self._resumption.save_exchange(session, personality.path, prompt, answer)

    async def _personality(self, id: int) -> Personality | None:
        if id == RAW:
            return None
        if id >= len(self._mounted):
            count = len(self._mounted)
            raise BadRequest(f"personality {id} is not mounted: there are {count}")
        try:
            return await self._mounted.get(id)
        except PersonalityNotFound as error:
            raise BadRequest(str(error)) from None


def _digest(holder: str) -> str:
    """A worker tells holders apart and does not learn their names; "" where no token is needed."""
    return hashlib.sha256(holder.encode()).hexdigest()[:32] if holder else ""
