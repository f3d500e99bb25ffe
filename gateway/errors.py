"""The errors of the gateway: who reads each one, what survives it, and its HTTP status."""

from typing import ClassVar


class StartError(Exception):
    """The gateway cannot start. The text is one sentence for the operator."""


class BadSetting(StartError):
    """A setting cannot be used. The sentence names where it was set."""


class CannotStart(StartError):
    """Something that only one server can have is taken: a port, an address, a home."""


class RequestError(Exception):
    """One request fails and nothing else does. The text is one sentence for the client."""

    code: ClassVar[str] = "server_error"
    """For programs; the text is for people."""
    status: ClassVar[int] = 500
    """Of the answer, when the request came by HTTP."""


class BadRequest(RequestError):
    """The payload does not fit. Nothing has changed."""

    code, status = "bad_request", 400


class NothingSelected(RequestError):
    """Neither the session nor the server has a binding, or a model, selected."""

    code, status = "nothing_selected", 400


class ModelNotFound(RequestError):
    """No such binding or model. The same text for whatever lies outside of their folders."""

    code, status = "model_not_found", 404


class PersonalityNotFound(RequestError):
    """No such personality. The same text for whatever lies outside of the zoo."""

    code, status = "personality_not_found", 404


class Quarantined(RequestError):
    """Workers crashed while they ran this very request: it is refused for a while."""

    code, status = "poison", 422


class Busy(RequestError):
    """The queue is full. Nothing was started; trying later may help."""

    code, status = "busy", 429

    def __init__(self, text: str = "too many requests are waiting: try again later") -> None:
        super().__init__(text)


class StateNotSaved(RequestError):
    """A change happened neither on disk nor in memory."""

    code, status = "state_not_saved", 500


class LoadFailed(RequestError):
    """The model could not be loaded, or could not do this. What was loaded still serves."""

    code, status = "load_failed", 503


class NoWorker(RequestError):
    """No process serves the binding and none can be started. The text says why."""

    code, status = "no_worker", 503


class StartFailed(NoWorker):
    """A worker was started and ended, or never said Hello: the next one would, too."""
