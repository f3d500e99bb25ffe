"""Render a conversation with a model's own chat template, in Jinja's sandbox with limits.

A template is code from the author of the model file, so it is not trusted. It runs in
Jinja's immutable sandbox with limits of size, time and memory. A template that evades
them can kill this worker, and the gateway is prepared for that. Names and whitespace
follow `transformers`, for which templates are written.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from jinja2.sandbox import ImmutableSandboxedEnvironment

from worker.binding import BindingError

LONGEST_SOURCE = 100_000
LONGEST_RESULT = 4_000_000
"""Characters: a context of a million tokens."""
SECONDS = 1.0
"""Of processor time for one conversation; usual templates take some milliseconds."""
MEMORY = 256 * 2**20
"""Bytes in addition to what the process has."""
TRIAL = ("Hello.", "Hello!", "How are you?")
TEMPLATE_FILE = "<template>"
"""The file name that Jinja gives to compiled templates."""


class RaisedByTemplate(Exception):
    """The template called `raise_exception`."""


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        raise ValueError(f"{operator} is not for templates")


class ChatTemplate:
    """Raises BindingError for an invalid template, and when rendering fails."""

    def __init__(self, source: str) -> None:
        self.bos = self.eos = ""
        """`bos_token` and `eos_token` of the template; `bos` is empty if the tokenizer adds BOS."""
        if len(source) > LONGEST_SOURCE:
            raise BindingError(
                f"the model's chat template has {len(source)} characters, at most "
                f"{LONGEST_SOURCE} are taken"
            )
        environment = _Sandbox(  # optimized=True evaluates constants before any limit is checked
            trim_blocks=True, lstrip_blocks=True, optimized=False,
            extensions=["jinja2.ext.loopcontrols"],
        )  # fmt: skip
        environment.filters["tojson"] = _json
        environment.globals.update(raise_exception=_refuse, strftime_now=_now)
        with _limits():
            self._template = environment.from_string(source)
        self.render("", TRIAL)

    def render(self, system: str, turns: Sequence[str]) -> str:
        """`turns` alternate between user and model; the first and the last are the user's.

        Some templates reject a system message: then the user's first turn begins with it.
        """
        roles = ("user", "assistant")
        messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(turns)]
        with _limits():
            if not system:
                return self._text(messages)
            try:
                return self._text([{"role": "system", "content": system}, *messages])
            except RaisedByTemplate:
                messages[0]["content"] = f"{system}\n\n{turns[0]}"
                return self._text(messages)

    def _text(self, messages: list[dict[str, str]]) -> str:
        names = {"bos_token": self.bos, "eos_token": self.eos, "add_generation_prompt": True}
        parts, length = [], 0
        for part in self._template.generate(messages=messages, **names):
            parts.append(part)
            length += len(part)
            if length > LONGEST_RESULT:
                raise ValueError(f"more than {LONGEST_RESULT} characters")
        return "".join(parts)


@contextmanager
def _limits() -> Iterator[None]:
    """Any error inside becomes a BindingError that blames the template."""
    end = time.thread_time() + SECONDS

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename != TEMPLATE_FILE:
            return None
        if time.thread_time() > end:
            raise TimeoutError(f"it takes longer than {SECONDS:g} s")
        return trace

    previous, limits = sys.gettrace(), resource.getrlimit(resource.RLIMIT_DATA)
    _limit_memory(limits)
    sys.settrace(trace)
    try:
        yield
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise BindingError(f"the model's chat template fails: {why[:200]}") from error
    finally:
        sys.settrace(previous)
        resource.setrlimit(resource.RLIMIT_DATA, limits)


def _limit_memory(now: tuple[int, int]) -> None:
    """Linux only; elsewhere a template may use as much as the worker."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        (used,) = (line.split()[1] for line in lines if line.startswith("VmData:"))
        wanted = 1024 * int(used) + MEMORY
        if now[0] == resource.RLIM_INFINITY or wanted < now[0]:
            resource.setrlimit(resource.RLIMIT_DATA, (wanted, now[1]))


def _refuse(why: object) -> NoReturn:
    raise RaisedByTemplate(str(why))


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
