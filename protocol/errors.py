"""What can go wrong between a gateway and a worker, and who survives it?"""

from enum import StrEnum


class ErrorCode(StrEnum):
    """Travels in `Failed` and `Refused`. The worker lives on after every one of
    them but the last two; the request that failed never does."""

    BAD_REQUEST = "bad_request"
    """The request itself can never succeed, wherever it is sent."""
    NO_MODEL = "no_model"
    """The worker has nothing loaded (it was started a moment ago): load, then try again."""
    MODEL_NOT_FOUND = "model_not_found"
    LOAD_FAILED = "load_failed"
    """The model that was loaded before is still there, if the binding could keep it."""
    CONTEXT_OVERFLOW = "context_overflow"
    """The prompt does not fit even when everything droppable is dropped."""
    BINDING_ERROR = "binding_error"
    """The binding raised. Other requests of the worker are untouched."""
    WORKER_LOST = "worker_lost"
    """The process died or stopped answering. Made by the gateway, never sent."""
    REFUSED = "refused"
    """The gateway will not have this worker: other protocol, wrong secret, unknown binding."""


class ProtocolError(ValueError):
    """A frame that is not a message of this protocol. Drop the frame, keep the peer."""
