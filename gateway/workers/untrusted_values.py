"""Check values in workers' messages that have the right types, and may yet be nonsense.

Each function raises ProtocolError for a message that no honest worker sends.
"""

from protocol.codec import MAX_MAPPED, MAX_MODELS
from protocol.errors import ProtocolError
from protocol.messages import Hello, Loaded, LoadProgress, PromptProgress
from protocol.model_files import may_be_listed


def check_hello(hello: Hello) -> None:
    _check_mapped(hello.mapped)
    if len(hello.models) > MAX_MODELS:
        raise ProtocolError(f"{len(hello.models)} models")
    for name, size in hello.models.items():
        if not may_be_listed(name):
            raise ProtocolError(f"{name[:64]!a} as the name of a model's file")
        if not 0 <= size <= MAX_MAPPED:
            raise ProtocolError(f"a model of {size} bytes")


def check_loaded(loaded: Loaded) -> None:
    _check_mapped(loaded.mapped)


def check_progress(progress: LoadProgress | PromptProgress) -> None:
    if isinstance(progress, LoadProgress):
        if not 0 <= progress.fraction <= 1:  # nor is NaN
            raise ProtocolError(f"a fraction of {progress.fraction}")
    elif not (0 <= progress.done <= progress.total >= progress.reused >= 0):
        raise ProtocolError(f"{progress.done} of {progress.total} tokens")


def _check_mapped(mapped: int) -> None:
    if not 0 <= mapped <= MAX_MAPPED:
        raise ProtocolError(f"{mapped} mapped bytes")
