"""What does the model thread do in one go: load, tokenise, detokenise? And how do errors end?"""

import logging
from collections.abc import Callable
from pathlib import Path

from protocol.errors import ErrorCode
from protocol.messages import (
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Failed,
    Load,
    Loaded,
    Message,
    Tokenize,
    Tokenized,
)
from worker.binding import (
    Binding,
    BindingError,
    ContextOverflow,
    Model,
    ModelLost,
    ModelNotFound,
)

log = logging.getLogger(__name__)

LONGEST_ERROR = 1000


Errand = Load | Tokenize | Detokenize | Embed


class Errands:
    def __init__(
        self, binding: Binding, progress: Callable[[], None], models: Path | None = None
    ) -> None:
        """`progress` is called while something is loaded, if the binding can tell. `models` is
        where model files are, when they are not where the gateway has them."""
        self._models = models
        self.model = ""
        """What is loaded; "" is nothing."""
        self._binding = binding
        self._progress = progress
        self._held: tuple[Model, object] | None = None

    def run(self, message: Errand) -> Message:
        """Its answer. Raises nothing that a process survives."""
        try:
            match message:
                case Load():
                    return self._load(message)
                case _ if not self.model:
                    return Failed(message.id, ErrorCode.NO_MODEL, "no model is loaded")
                case Tokenize(id=id, text=text):
                    return Tokenized(id, list(map(int, self._binding.tokenize(text))))
                case Detokenize(id=id, tokens=tokens):
                    text = self._binding.detokenize(tokens).decode(errors="replace")
                    return Detokenized(id, text)
                case Embed(id=id, text=text):
                    return Embedded(id, list(map(float, self._binding.embed(text))))
        except Exception as error:  # noqa: BLE001 - failure() logs it
            loading = isinstance(message, Load)
            code = ErrorCode.LOAD_FAILED if loading else ErrorCode.BINDING_ERROR
            return failure(message.id, error, code)

    def _path(self, message: Load) -> Path | None:
        if not message.path:
            return None
        if not self._models:
            return Path(message.path)
        if message.model in ("", ".", "..") or "/" in message.model:
            raise ModelNotFound(f"{message.model!a} is no file's name")
        return self._models / message.model

    def _load(self, message: Load) -> Loaded:
        """Nothing is loaded twice: a gateway that restarted asks for what its predecessor had."""
        path = self._path(message)
        wanted = Model(message.model, path, message.settings, self._progress), _version(path)
        if wanted != self._held:
            log.info("loading %s", message.model)
            try:
                self._binding.load(wanted[0])
            except ModelLost:
                self.model, self._held = "", None
                raise
            self._held = wanted
            self.model = message.model
            log.info("loaded %s", message.model)
        return Loaded(
            message.id,
            self.model,
            self._binding.context_size,
            slots=max(1, self._binding.slots),
            details={_plain(k): _plain(v) for k, v in self._binding.details().items()},
        )


def failure(id: int, error: Exception, code: ErrorCode = ErrorCode.BINDING_ERROR) -> Failed:
    """How an error of the binding is told; MemoryError is raised again: nobody survives it."""
    match error:
        case MemoryError():
            raise error
        case ModelNotFound():
            code = ErrorCode.MODEL_NOT_FOUND
        case ContextOverflow():
            code = ErrorCode.CONTEXT_OVERFLOW
        case BindingError():
            pass
        case _:
            log.error("request %d: the binding raised", id, exc_info=error)
            return Failed(id, code, f"{type(error).__name__}: {_one_line(error)}".rstrip(": "))
    return Failed(id, code, _one_line(error) or type(error).__name__)


def _one_line(error: Exception) -> str:
    return _plain(" ".join(str(error).split()))[:LONGEST_ERROR]


def _plain(text: object) -> str:
    """Without what cannot be sent: file names bring lone surrogates along."""
    return str(text).encode(errors="replace").decode()


def _version(path: Path | None) -> object:
    """Tells a file from the one that was there under its name before."""
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return status and (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
