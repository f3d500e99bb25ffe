"""The errors of the gateway: who reads each one, what survives it, and its HTTP status."""

from typing import ClassVar


class StartError(Exception):
    """The gateway cannot start. The text is one sentence for the operator."""


class BadSetting(StartError):
    """A setting cannot be used. The sentence names where it was set."""


class CannotStart(StartError):
    """A port, an address or a home is in use by another server."""


class RequestError(Exception):
    """One request fails and nothing else does. The text is one sentence for the client."""

    code: ClassVar[str] = "server_error"
    """For programs; the text is for people."""
    status: ClassVar[int] = 500
    """The status of an HTTP response with this error."""


class BadRequest(RequestError):
    """The payload does not fit. Nothing has changed."""

    code, status = "bad_request", 400


class NothingSelected(RequestError):
    """No binding, or no model, is selected: neither by the session nor as default."""

    code, status = "nothing_selected", 400


class ModelNotFound(RequestError):
    """No such binding or model. A path outside their folders gets the same text."""

    code, status = "model_not_found", 404


class PersonalityNotFound(RequestError):
    """No such personality. A path outside the zoo gets the same text."""

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
    """The change was made neither on disk nor in memory."""

    code, status = "state_not_saved", 500


class LoadFailed(RequestError):
    """The model could not be loaded, or could not do this. What was loaded still serves."""

    code, status = "load_failed", 503


class NoWorker(RequestError):
    """No process serves the binding and none can be started. The text says why."""

    code, status = "no_worker", 503


class StartFailed(NoWorker):
    """A started worker ended before its Hello, or never sent one. The next would fail, too."""
