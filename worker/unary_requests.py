"""Requests with one reply: load, tokenise, detokenise, embed; and replies for exceptions."""

import contextlib
import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from protocol.codec import MAX_MAPPED
from protocol.errors import ErrorCode
from protocol.messages import (
    Chunk,
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
    BadRequest,
    Binding,
    BindingError,
    ContextOverflow,
    Model,
    ModelLost,
    ModelNotFound,
    OutOfMemory,
)
from worker.progress import LoadReport

log = logging.getLogger(__name__)

MAX_ERROR_LENGTH = 1000

UnaryRequest = Load | Tokenize | Detokenize | Embed

Result = TypeVar("Result")


class UnaryRequests:
    def __init__(
        self,
        binding: Binding,
        tick: Callable[[], None],
        send: Callable[[list[Chunk | Message]], None],
        models: Path | None = None,
    ) -> None:
        """`tick` is called, and progress sent, during a load, if the binding supports it.
        `models` is the folder of model files, if it is not the gateway's."""
        self._models = models
        self.model = ""
        """Name of the loaded model; "" if there is none."""
        self.mapped = 0
        """Bytes of files that it maps."""
        self._binding = binding
        self._tick = tick
        self._send = send
        self._loaded: tuple[Model, object] | None = None

    def pieces(self, message: UnaryRequest) -> Iterator[Message | None]:
        """None after each part of the work, then the reply. Raises only what ends the process."""
        try:
            match message:
                case Load():
                    yield self._load(message)
                case _ if not self.model:
                    yield Failed(message.id, ErrorCode.NO_MODEL, "no model is loaded")
                case _:
                    yield from self._reply(message)
        except Exception as error:  # noqa: BLE001 - failure() logs it
            loading = isinstance(message, Load)
            code = ErrorCode.LOAD_FAILED if loading else ErrorCode.BINDING_ERROR
            yield failure(message.id, error, code)

    def _reply(self, message: Tokenize | Detokenize | Embed) -> Iterator[Message | None]:
        binding = self._binding
        match message:
            case Tokenize(id=id, text=text):
                tokens = yield from _result(binding.tokenize_pieces(text))
                yield Tokenized(id, list(map(int, tokens)))
            case Detokenize(id=id, tokens=tokens):
                data = yield from _result(binding.detokenize_pieces(tokens))
                yield Detokenized(id, data.decode(errors="replace"))
            case Embed(id=id, text=text):
                vector = yield from _result(binding.embed_pieces(text))
                yield Embedded(id, list(map(float, vector)))

    def _path(self, message: Load) -> Path | None:
        """The file to load. A worker with its own folder finds it there by its name, also if
        the gateway has no such file."""
        if not self._models:
            return Path(message.path) if message.path else None
        if message.model in ("", ".", "..") or "/" in message.model:
            if message.path:
                raise ModelNotFound(f"{message.model!a} is not a file name")
            return None
        own = self._models / message.model
        return own if message.path or own.is_file() else None

    def _load(self, message: Load) -> Loaded:
        """Does not load the same model twice: a restarted gateway requests it again."""
        path = self._path(message)
        report = LoadReport(message.id, self._send, self._tick)
        model = Model(message.model, path, message.settings, report, message.mapped)
        version = _file_version(path)
        if (model, version) != self._loaded:
            log.info("loading %s", message.model)
            try:
                self._binding.load(model)
            except ModelLost:
                self.model, self.mapped, self._loaded = "", 0, None
                raise
            finally:
                report.end()
            self._loaded = model, version
            self.model = message.model
            self.mapped = min(max(0, int(self._binding.mapped)), MAX_MAPPED)
            log.info("loaded %s", message.model)
        return Loaded(
            message.id,
            self.model,
            self._binding.context_size,
            slots=max(1, self._binding.slots),
            mapped=self.mapped,
            details={_plain(k): _plain(v) for k, v in self._binding.details().items()},
        )


def _result(pieces: Iterable[Result | None]) -> Generator[None, None, Result]:
    """Yield while there is no result. Close the binding's iterator, whatever happens."""
    iterator: Any = iter(pieces)
    with contextlib.ExitStack() as stack:
        stack.callback(getattr(iterator, "close", lambda: None))
        for result in iterator:
            if result is not None:
                return result  # type: ignore[no-any-return]
            yield
    raise BindingError("the binding ended without a result")


def failure(id: int, error: Exception, code: ErrorCode = ErrorCode.BINDING_ERROR) -> Failed:
    """The reply for an exception of the binding. MemoryError is raised again: it ends the
    process."""
    match error:
        case MemoryError():
            raise error
        case BadRequest():
            code = ErrorCode.BAD_REQUEST
        case ModelNotFound():
            code = ErrorCode.MODEL_NOT_FOUND
        case OutOfMemory():
            code = ErrorCode.NO_MEMORY
        case ContextOverflow():
            code = ErrorCode.CONTEXT_OVERFLOW
        case BindingError():
            pass
        case _:
            log.error("request %d: the binding raised an exception", id, exc_info=error)
            return Failed(id, code, f"{type(error).__name__}: {_one_line(error)}".rstrip(": "))
    return Failed(id, code, _one_line(error) or type(error).__name__)


def _one_line(error: Exception) -> str:
    return _plain(" ".join(str(error).split()))[:MAX_ERROR_LENGTH]


def _plain(text: object) -> str:
    """Replace what cannot be encoded: file names can contain lone surrogates."""
    return str(text).encode(errors="replace").decode()


def _file_version(path: Path | None) -> object:
    """A value that changes if the file is replaced or modified."""
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return status and (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
