"""Error codes of the worker protocol, and what survives each error."""

from enum import StrEnum


class ErrorCode(StrEnum):
    """Sent in `Failed` and `Refused`. The failed request always ends. The worker
    survives every error except the last two."""

    BAD_REQUEST = "bad_request"
    """The request can never succeed, in any worker."""
    NO_MODEL = "no_model"
    """The worker has no model loaded, because it has just started: load, then retry."""
    MODEL_NOT_FOUND = "model_not_found"
    LOAD_FAILED = "load_failed"
    """The previous model is still loaded, if the binding could keep it."""
    NO_MEMORY = "no_memory"
    """The model does not fit beside what is loaded on the machine. The worker is as before."""
    CONTEXT_OVERFLOW = "context_overflow"
    """The prompt does not fit, even without its droppable parts."""
    BINDING_ERROR = "binding_error"
    """The binding raised an exception. The worker's other requests are unaffected."""
    WORKER_LOST = "worker_lost"
    """The process died or hung. Created by the gateway, never sent."""
    REFUSED = "refused"
    """The gateway rejects this worker: other protocol version, wrong secret, unknown binding."""


class ProtocolError(ValueError):
    """A frame that is not a message of this protocol. Drop the frame, keep the connection."""
