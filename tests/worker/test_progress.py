"""Progress of loads and prompts is reported when it changes, and four times a second at most."""

import math
import threading
from collections.abc import Iterator

import pytest

from protocol.messages import Chunk, Generate, Load, LoadProgress, Message, PromptProgress
from tests.worker.test_pump import LOAD, Letters, Script
from worker.binding import Binding, Model, Piece, Request
from worker.generation import Generation
from worker.progress import INTERVAL, LoadReport, PromptReports


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Loading:
    """A report with what it has sent."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sent: list[Chunk | Message] = []
        self.ticks = 0
        self.report = LoadReport(7, self.sent.extend, self.tick, self.clock)

    def tick(self) -> None:
        self.ticks += 1


def test_a_load_is_reported_when_it_changes_and_not_too_often() -> None:
    load = Loading()
    for fraction in (0.0, 0.1, 0.2):
        load.report(fraction)
    assert load.sent == [LoadProgress(7, 0.0)]
    load.clock.now += INTERVAL
    load.report(0.3)
    load.clock.now += INTERVAL
    load.report(0.3)
    assert load.sent == [LoadProgress(7, 0.0), LoadProgress(7, 0.3)]
    assert load.ticks == 5


def test_a_load_without_a_fraction_is_alive_and_says_nothing() -> None:
    load = Loading()
    load.report()
    load.report(None)
    assert load.ticks == 2 and not load.sent


def test_a_load_that_is_over_says_nothing() -> None:
    load = Loading()
    load.report.end()
    load.report(0.5)
    assert load.ticks == 1 and not load.sent


@pytest.mark.parametrize(
    ("fraction", "sent"), [(-1, 0.0), (2, 1.0), (math.nan, 0.0), (math.inf, 1.0), (1 / 3, 0.333)]
)
def test_whatever_a_binding_reports_can_be_sent(fraction: float, sent: float) -> None:
    load = Loading()
    load.report(fraction)
    assert load.sent == [LoadProgress(7, sent)]


class Slow(Letters):
    """Computes three tokens of its prompt in each step, if it says so; then answers `a`."""

    counts = True

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__()
        self.context_size = 100
        self.clock = clock or Clock()

    def load(self, model: Model) -> None:
        worker = threading.Thread(target=model.progress, args=(0.5,))
        worker.start()
        worker.join()

    def generate(self, request: Request) -> Iterator[Piece]:
        usage = request.usage
        usage.reused_tokens = usage.computed_tokens = 1
        while usage.computed_tokens < usage.prompt_tokens and self.counts:
            usage.computed_tokens += 3
            self.clock.now += INTERVAL
            yield Piece()
        yield Piece("a", (97,))
        usage.computed_tokens = usage.prompt_tokens
        yield Piece("b", (98,))


def test_progress_of_a_load_comes_before_its_answer() -> None:
    script = Script(Slow())
    script.run(LOAD)
    assert script.output[0] == LoadProgress(LOAD.id, 0.5)
    assert len(script.output) == 2


def prompts_of(binding: Binding, message: Generate) -> list[Chunk | Message]:
    """What is reported of a generation, pass by pass."""
    reports, generation = PromptReports(getattr(binding, "clock", Clock())), Generation(message)
    generation.open(binding)
    reports.add(generation)
    sent: list[Chunk | Message] = []
    while reports:
        generation.advance([])
        sent += reports.take([generation])
    return sent


def test_a_prompt_is_reported_until_its_first_token() -> None:
    assert prompts_of(Slow(), Generate(1, "12345678")) == [
        PromptProgress(1, done, 8, 1) for done in (4, 7, 8)
    ]


def test_a_prompt_is_not_reported_too_often() -> None:
    class Quick(Slow):
        def generate(self, request: Request) -> Iterator[Piece]:
            for piece in super().generate(request):
                self.clock.now -= INTERVAL / 2
                yield piece

    assert prompts_of(Quick(), Generate(1, "12345678")) == [
        PromptProgress(1, done, 8, 1) for done in (4, 8)
    ]


def test_a_binding_that_does_not_count_reports_nothing() -> None:
    assert prompts_of(Letters(), Generate(1, "12345678")) == []


def test_a_generation_that_has_ended_is_forgotten() -> None:
    reports, generation = PromptReports(Clock()), Generation(Generate(1, "12345678"))
    generation.open(Slow())
    reports.add(generation)
    assert reports.take([]) == [] and not reports


def test_only_who_asks_is_told() -> None:
    script = Script(Slow())
    script.run(LOAD, Generate(2, "12345678"), Generate(3, "12345", progress=True))
    told = [each for each in script.output if isinstance(each, PromptProgress)]
    assert told and {each.id for each in told} == {3}
    assert script.text(2) == script.text(3) == "ab"


def test_what_other_workers_map_is_told_to_the_binding_and_reloads_nothing() -> None:
    seen: list[int] = []

    class Mapping(Letters):
        def load(self, model: Model) -> None:
            seen.append(model.mapped)
            self.mapped = 1000

    script = Script(Mapping())
    script.run(Load(1, "abc", mapped=5), Load(2, "abc", mapped=6))
    assert seen == [5]
    assert script.answer(1).mapped == script.answer(2).mapped == script.pump.mapped == 1000
