"""The loop of the model thread, called directly, without a thread or a socket."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bindings.echo import Echo
from protocol.errors import ErrorCode, ProtocolError
from protocol.messages import (
    Chunk,
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Failed,
    Finished,
    Generate,
    Load,
    Loaded,
    LoadProgress,
    Message,
    PromptProgress,
    Tokenize,
    Tokenized,
)
from protocol.sampling import Sampling
from worker.binding import (
    BadRequest,
    Binding,
    BindingError,
    ContextOverflow,
    Model,
    ModelNotFound,
    OutOfMemory,
    Piece,
    Request,
)
from worker.pump import Pump, Work

Act = Callable[[Pump], None]


class Letters(Binding):
    """Answers with its prompt, letter by letter; records what happened."""

    slots = 2

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.interrupted: list[Request] = []

    def load(self, model: Model) -> None:
        if model.name == "broken":
            raise BindingError("the file is broken")
        if model.name == "large":
            raise OutOfMemory("it needs 2 GiB and 1 GiB are available")
        if model.name == "missing":
            raise ModelNotFound("there is no such file")
        if model.name == "buggy":
            raise ZeroDivisionError("division\nby zero")
        if model.name == "small":
            self.context_size = 10
        self.happened.append(f"load {model.name}")

    def generate(self, request: Request) -> Iterator[Piece]:
        self.happened.append(f"open {request.prompt}")
        try:
            for letter in request.prompt:
                if letter == "!":
                    raise ValueError("an exclamation\nmark")
                if letter == "?":
                    raise BindingError("no questions, please")
                if letter == "%":
                    raise BadRequest("no percentages")
                if letter == "#":
                    raise MemoryError
                yield Piece(letter, (ord(letter),))
        finally:
            self.happened.append(f"close {request.prompt}")

    def interrupt(self, request: Request) -> None:
        self.interrupted.append(request)

    def details(self) -> dict[str, str]:
        return {"letters": "26"}

    def close(self) -> None:
        self.happened.append("end")


class Script:
    """Runs a pump on this thread. Actions given to `when` run after output that meets their
    condition."""

    def __init__(self, binding: Binding) -> None:
        self.output: list[Chunk | Message] = []
        self.batches: list[list[Chunk | Message]] = []
        self.acts: list[tuple[Callable[[], bool], Act]] = []
        self.congested = False
        self.pump = Pump(binding, self._receive, lambda: self.congested)

    def _receive(self, batch: list[Chunk | Message]) -> None:
        self.output += batch
        self.batches.append(batch)
        for act in list(self.acts):
            if act[0]():
                self.acts.remove(act)
                act[1](self.pump)

    def when(self, condition: Callable[[], bool], act: Act) -> None:
        self.acts.append((condition, act))

    def run(self, *work: Work, answers: int | None = None) -> None:
        """Submit all, and stop when so many are answered: by default, all."""
        wanted = len(work) if answers is None else answers
        self.when(lambda: len(self.answers) >= wanted, lambda pump: pump.stop())
        for each in work:
            self.pump.submit(each)
        self.pump.run()

    @property
    def answers(self) -> list[Message]:
        progress = (LoadProgress, PromptProgress, Chunk)
        return [each for each in self.output if not isinstance(each, progress)]

    def answer(self, id: int) -> Any:
        (answer,) = [each for each in self.answers if getattr(each, "id", None) == id]
        return answer

    def chunks(self, id: int) -> list[Chunk]:
        return [each for each in self.output if isinstance(each, Chunk) and each.id == id]

    def text(self, id: int) -> str:
        return "".join(chunk.text for chunk in self.chunks(id))


LOAD = Load(1, "abc")


def generate(id: int, prompt: str, **fields: Any) -> Generate:
    return Generate(id, prompt, **fields)


def test_generations_take_turns_and_each_pass_is_one_batch() -> None:
    script = Script(Letters())
    script.run(LOAD, generate(2, "abc"), generate(3, "xyz"))
    streams = [
        [chunk.text for chunk in batch if isinstance(chunk, Chunk)] for batch in script.batches
    ]
    assert [stream for stream in streams if stream] == [["a", "x"], ["b", "y"], ["c", "z"]]
    assert script.answer(2) == Finished(2, "stop", 3)


class Batching(Letters):
    """Computes a letter for each that has joined, in the first `next` that needs one."""

    slots = 3

    def __init__(self) -> None:
        super().__init__()
        self.joined: dict[Request, int] = {}
        self.steps = 0

    def generate(self, request: Request) -> Iterator[Piece]:
        self.joined[request] = taken = 0
        yield Piece()
        while taken < len(request.prompt):
            if self.joined[request] == taken:
                self.steps += 1
                for each in self.joined:
                    self.joined[each] += 1
            yield Piece(request.prompt[taken], (self.steps,))
            taken += 1
        del self.joined[request]


def test_who_joins_a_batch_is_in_its_next_step_and_has_the_token_at_once() -> None:
    script = Script(Batching())
    script.when(lambda: script.text(2) == "ab", lambda pump: pump.submit(generate(3, "xyz")))
    script.run(LOAD, generate(2, "abcdef"), answers=3)
    streams = [
        [chunk.text for chunk in batch if isinstance(chunk, Chunk)] for batch in script.batches
    ]
    assert [stream for stream in streams if stream] == [
        ["a"], ["b"], ["c", "x"], ["d", "y"], ["e", "z"], ["f"],
    ]  # fmt: skip
    assert [chunk.tokens for chunk in script.chunks(3)] == [[3], [4], [5]]


def test_chunks_carry_the_ids_of_their_tokens() -> None:
    script = Script(Letters())
    script.run(LOAD, generate(2, "ab"))
    assert script.chunks(2) == [Chunk(2, "a", [97], 1), Chunk(2, "b", [98], 1)]


def test_no_more_are_open_than_there_are_slots() -> None:
    binding = Letters()
    script = Script(binding)
    script.run(LOAD, generate(2, "aaaa"), generate(3, "b"), generate(4, "c"))
    assert binding.happened == [
        "load abc", "open aaaa", "open b", "close b", "open c", "close c", "close aaaa", "end",
    ]  # fmt: skip


def test_a_load_waits_until_no_generation_is_open() -> None:
    binding = Letters()
    script = Script(binding)
    script.run(LOAD, generate(2, "ab"), Load(3, "other"))
    assert binding.happened[:4] == ["load abc", "open ab", "close ab", "load other"]
    assert script.answer(3) == Loaded(3, "other", 0, slots=2, details={"letters": "26"})


def test_a_model_is_not_loaded_twice_unless_its_file_changed(tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_text("1")
    binding = Letters()
    script = Script(binding)

    def change(pump: Pump) -> None:
        file.write_text("22")
        pump.submit(Load(3, "abc", str(file)))

    script.when(lambda: len(script.answers) == 2, change)
    script.run(Load(1, "abc", str(file)), Load(2, "abc", str(file)), answers=3)
    assert binding.happened == ["load abc", "load abc", "end"]
    assert [type(answer) for answer in script.answers] == [Loaded, Loaded, Loaded]


@pytest.mark.parametrize(
    ("model", "code", "error"),
    [
        ("broken", ErrorCode.LOAD_FAILED, "the file is broken"),
        ("missing", ErrorCode.MODEL_NOT_FOUND, "there is no such file"),
        ("large", ErrorCode.NO_MEMORY, "it needs 2 GiB and 1 GiB are available"),
        ("buggy", ErrorCode.LOAD_FAILED, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_failed_load_says_why_and_the_old_model_serves(model: str, code: str, error: str) -> None:
    script = Script(Letters())
    script.run(LOAD, Load(2, model), generate(3, "abc"))
    assert script.answer(2) == Failed(2, code, error)
    assert script.text(3) == "abc"
    assert script.pump.model == "abc"


@pytest.mark.parametrize("work", [Generate(2, "a"), Tokenize(2, "a"), Detokenize(2, [1])])
def test_nothing_works_before_a_load(work: Work) -> None:
    script = Script(Letters())
    script.run(work)
    assert script.answer(2) == Failed(2, ErrorCode.NO_MODEL, "no model is loaded")


def test_tokenise_and_detokenise_go_through_the_same_thread() -> None:
    script = Script(Letters())
    script.run(LOAD, Tokenize(2, "é!"), Detokenize(3, [0xC3, 0xA9, 0xC3]))
    assert script.answer(2) == Tokenized(2, list("é!".encode()))
    assert script.answer(3) == Detokenized(3, "é\ufffd")


@pytest.mark.parametrize(
    ("prompt", "error"),
    [("ab!", "ValueError: an exclamation mark"), ("ab?", "no questions, please")],
)
def test_a_binding_that_raises_fails_one_request(prompt: str, error: str) -> None:
    binding = Letters()
    script = Script(binding)
    script.run(LOAD, generate(2, prompt), generate(3, "abcd"))
    assert script.answer(2) == Failed(2, ErrorCode.BINDING_ERROR, error)
    assert (script.text(2), script.text(3)) == ("ab", "abcd")
    assert script.answer(3).reason == "stop"


def test_a_request_that_can_never_succeed_is_told_as_bad_request() -> None:
    script = Script(Letters())
    script.run(LOAD, generate(2, "ab%"), generate(3, "abcd"))
    assert script.answer(2) == Failed(2, ErrorCode.BAD_REQUEST, "no percentages")
    assert (script.text(3), script.answer(3).reason) == ("abcd", "stop")
    assert issubclass(BadRequest, BindingError)


def test_nobody_survives_a_memory_error() -> None:
    script = Script(Letters())
    with pytest.raises(MemoryError):
        script.run(LOAD, generate(2, "a#"))


def test_a_prompt_that_cannot_fit_is_refused_and_others_go_on() -> None:
    script = Script(Letters())
    script.run(Load(1, "small"), generate(2, "x" * 11), generate(3, "abc"))
    assert script.answer(2).code == ErrorCode.CONTEXT_OVERFLOW
    assert "11" in script.answer(2).error and "10" in script.answer(2).error
    assert script.text(3) == "abc"
    assert issubclass(ContextOverflow, BindingError)


def test_the_end_of_the_context_is_a_matter_of_length() -> None:
    script = Script(Letters())
    script.run(Load(1, "small"), generate(2, "hello"), generate(3, "hi"))
    assert script.answer(2) == Finished(2, "length", 5, prompt_tokens=5)
    assert script.answer(3) == Finished(3, "stop", 2, prompt_tokens=2)


def test_n_predict_is_held() -> None:
    binding = Letters()
    script = Script(binding)
    script.run(LOAD, generate(2, "abcdef", n_predict=3))
    assert script.text(2) == "abc"
    assert script.answer(2) == Finished(2, "length", 3)
    assert "close abcdef" in binding.happened


def test_a_stop_string_ends_the_generation_and_is_not_shown() -> None:
    script = Script(Letters())
    script.run(LOAD, generate(2, "abcdef", stop=["cd"]))
    assert script.text(2) == "ab"
    assert script.answer(2) == Finished(2, "stop", 4)
    assert [token for chunk in script.chunks(2) for token in chunk.tokens] == [97, 98, 99, 100]


def test_what_was_held_back_goes_out_at_the_end() -> None:
    script = Script(Letters())
    script.run(LOAD, generate(2, "abc", stop=["cd"]), generate(3, "abc", stop=["cd"], n_predict=3))
    assert (script.text(2), script.text(3)) == ("abc", "abc")


def test_without_credit_a_generation_waits_and_its_neighbour_does_not() -> None:
    script = Script(Letters())

    def check_and_grant(pump: Pump) -> None:
        assert script.text(2) == "ab"
        pump.grant(2, 1)
        pump.grant(2, 100)

    script.when(lambda: len(script.answers) == 2, check_and_grant)
    script.run(LOAD, generate(2, "abcdef", credit=2), generate(3, "abcdefghij"), answers=3)
    assert [getattr(answer, "id", 0) for answer in script.answers] == [1, 3, 2]
    assert script.text(2) == "abcdef"


def test_credit_is_taken_while_text_is_held_back() -> None:
    """Otherwise both sides would wait: one for credit, the other for text."""
    script = Script(Letters())
    script.when(
        lambda: sum(chunk.count for chunk in script.chunks(2)) == 2, lambda pump: pump.grant(2, 9)
    )
    script.run(LOAD, generate(2, "abcd", credit=2, stop=["abcx"]))
    assert script.text(2) == "abcd"


def test_a_congested_link_stops_everything_but_cancels() -> None:
    binding = Letters()
    script = Script(binding)

    def congest(pump: Pump) -> None:
        script.congested = True
        pump.cancel(2)

    def clear(pump: Pump) -> None:
        assert script.text(3) == "a"
        script.congested = False
        pump.wake()

    script.when(lambda: script.text(3) == "a", congest)
    script.when(lambda: len(script.answers) == 2, clear)
    script.run(LOAD, generate(2, "abcdef"), generate(3, "abc"), answers=3)
    assert script.answer(2).reason == "cancelled"
    assert script.text(3) == "abc"


def test_a_cancel_closes_the_generator_and_interrupts_the_binding() -> None:
    binding = Letters()
    script = Script(binding)
    script.when(lambda: script.text(2) == "ab", lambda pump: pump.cancel(2))
    script.run(LOAD, generate(2, "abcdef"))
    assert script.answer(2) == Finished(2, "cancelled", 2)
    assert binding.happened[1:3] == ["open abcdef", "close abcdef"]
    assert [request.prompt for request in binding.interrupted] == ["abcdef"]


def test_a_cancel_in_the_inbox_is_answered_and_nothing_is_opened() -> None:
    binding = Letters()
    script = Script(binding)
    script.when(lambda: len(script.answers) == 1, lambda pump: pump.cancel(4))
    script.run(LOAD, generate(2, "aaaa"), generate(3, "bbbb"), generate(4, "c"))
    assert script.answer(4) == Finished(4, "cancelled", 0)
    assert "open c" not in binding.happened
    assert [getattr(answer, "id", 0) for answer in script.answers][1] == 4


def test_a_late_cancel_and_late_credit_do_nothing() -> None:
    script = Script(Letters())

    def late(pump: Pump) -> None:
        pump.cancel(2)
        pump.grant(2, 5)
        pump.cancel(99)
        pump.submit(generate(3, "b"))

    script.when(lambda: len(script.answers) == 2, late)
    script.run(LOAD, generate(2, "a"), answers=3)
    assert [type(answer) for answer in script.answers] == [Loaded, Finished, Finished]


def test_an_error_that_an_interruption_caused_is_a_cancel() -> None:
    class Fragile(Letters):
        def generate(self, request: Request) -> Iterator[Piece]:
            yield Piece("a")
            script.pump.cancel(2)
            raise RuntimeError("interrupted")

    script = Script(Fragile())
    script.run(LOAD, generate(2, "x"))
    assert script.answer(2) == Finished(2, "cancelled", 1)


def test_a_request_that_is_here_already_is_refused() -> None:
    script = Script(Letters())
    script.pump.submit(generate(2, "a"))
    with pytest.raises(ProtocolError):
        script.pump.submit(generate(2, "b"))


def test_stop_answers_everything_and_closes_the_binding() -> None:
    binding = Letters()
    script = Script(binding)
    script.run(LOAD, generate(2, "aaa"), generate(3, "bbb"), generate(4, "ccc"), answers=1)
    reasons = [answer.reason for answer in script.answers if isinstance(answer, Finished)]
    assert reasons == ["cancelled"] * 3
    assert binding.happened[-1] == "end"


@pytest.mark.parametrize("piece", ["text", None, ("a", (1,), 2), (1, (1,)), ("a", ("b",)), 5])
def test_a_piece_that_is_none_is_the_bindings_error(piece: Any) -> None:
    class Odd(Letters):
        def generate(self, request: Request) -> Iterator[Piece]:
            yield Piece("a")
            yield piece or 0  # type: ignore[misc]

    script = Script(Odd())
    script.run(LOAD, generate(2, "x"), generate(3, "x"))
    assert script.answer(2).code == script.answer(3).code == ErrorCode.BINDING_ERROR


def test_bindings_without_ids_count_a_token_a_piece() -> None:
    script = Script(Echo())
    script.run(Load(1, "echo"), generate(2, "three  short\nwords", n_predict=2))
    assert script.text(2) == "three  short"
    assert script.chunks(2)[0] == Chunk(2, "three", [], 1)


def test_lorem_is_seeded_and_exactly_as_long_as_asked() -> None:
    script = Script(Echo())
    asked = [generate(n, "x", n_predict=50, sampling=Sampling(seed=n // 2)) for n in (2, 3, 4)]
    script.run(Load(1, "lorem"), *asked)
    assert script.text(2) == script.text(3) != script.text(4)
    assert len(script.text(2).split()) == 50
    assert script.answer(2) == Finished(2, "length", 50)


@pytest.mark.parametrize("model", ["lorem", "lorem-10ms"])
def test_a_resumed_generation_goes_on_where_it_was(model: str) -> None:
    script = Script(Echo())
    script.run(Load(1, model), generate(2, "x", n_predict=20))
    ids = [token for chunk in script.chunks(2) for token in chunk.tokens]
    text = script.text(2)
    again = Script(Echo())
    again.run(Load(1, model), generate(2, "x", n_predict=20, resume=ids[:8], skip=21))
    assert again.text(2) == text[21:]
    assert [token for chunk in again.chunks(2) for token in chunk.tokens] == ids[8:]
    assert sum(chunk.count for chunk in again.chunks(2)) == 12
    assert again.answer(2).tokens == 20


def test_a_resumed_generation_without_ids_skips_what_was_sent() -> None:
    script = Script(Echo())
    script.run(Load(1, "echo"), generate(2, "one two three four", skip=9, credit=3))
    assert script.text(2) == "hree four"
    assert script.answer(2).tokens == 4


def test_only_what_keeps_the_model_thread_busy_is_active() -> None:
    seen: dict[str, int] = {}

    class Watching(Letters):
        def load(self, model: Model) -> None:
            seen["loading"] = script.pump.active
            before = script.pump.steps
            model.progress()
            seen["progress"] = script.pump.steps - before

        def generate(self, request: Request) -> Iterator[Piece]:
            seen["generating"] = script.pump.active
            yield Piece("a")

    script = Script(Watching())
    script.run(LOAD, generate(2, "x"))
    assert seen == {"loading": 2, "progress": 1, "generating": 1}
    assert script.pump.active == 0
    assert script.pump.steps > 0


def test_tidying_up_is_for_when_nobody_waits() -> None:
    class Tidy(Letters):
        def rest(self) -> bool:
            self.happened.append("rest")
            if self.happened.count("rest") == 3:
                script.pump.submit(generate(3, "zzz"))
            if self.happened.count("rest") == 4:
                script.pump.submit(generate(4, "y"))
                raise ZeroDivisionError
            return True

    binding = Tidy()
    script = Script(binding)
    script.run(LOAD, generate(2, "aaa"), answers=4)
    assert binding.happened == [
        "load abc", "open aaa", "close aaa", "rest", "rest", "rest", "open zzz", "close zzz",
        "rest", "open y", "close y", "end",
    ]  # fmt: skip


class Formal(Letters):
    """Has its own conversation format."""

    def compose(self, system: str, turns: Sequence[str]) -> str | None:
        return f"<{system}|{'|'.join(turns)}>" if system != "none" else None


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"conditioning": "s", "blocks": ["#"], "turns": ["q", "a", "p"]}, "<s|q|a|p>"),
        ({"conditioning": "none", "blocks": ["b"], "turns": ["q", "a", "p"]}, "nonebp"),
        ({"conditioning": "s"}, "sp"),
    ],
    ids=["its own form", "no form for this", "a prompt that is no conversation"],
)
def test_a_binding_may_have_a_form_of_its_own(fields: dict[str, Any], text: str) -> None:
    script = Script(Formal())
    script.run(LOAD, generate(2, "p", **fields))
    assert script.text(2) == text


def test_exchanges_that_do_not_fit_are_dropped_from_its_form_too() -> None:
    script = Script(Formal())
    turns = ["1", "one", "2", "two", "3"]
    blocks = ["1" * 4, "2" * 4]
    script.run(Load(1, "small"), generate(2, "p", n_predict=20, blocks=blocks, turns=turns))
    assert script.text(2).startswith("<|3>")


class Slow(Letters):
    """Embeds a text in as many pieces as it has letters."""

    def embed_pieces(self, text: str) -> Iterator[list[float] | None]:
        self.happened.append(f"embed {text}")
        try:
            for letter in text:
                self.happened.append(letter)
                if letter == "!":
                    raise BindingError("no exclamations, please")
                yield None
            yield [float(len(text))]
        finally:
            self.happened.append(f"close {text}")

    def generate(self, request: Request) -> Iterator[Piece]:
        for letter in request.prompt:
            self.happened.append("pass")
            yield Piece(letter, (ord(letter),))

    def tokenize(self, text: str) -> list[int]:
        self.happened.append("tokenize")
        return [1]


def test_between_two_passes_at_most_one_piece_of_unary_work_is_computed() -> None:
    binding = Slow()
    script = Script(binding)
    embeds = [Embed(n, "xyz") for n in range(10, 16)]
    script.run(LOAD, generate(2, "a" * 40), *embeds, *(Tokenize(n, "t") for n in range(20, 26)))
    assert all(script.answer(embed.id) == Embedded(embed.id, [3.0]) for embed in embeds)
    between = 0
    for what in binding.happened:
        between = 0 if what == "pass" else between + (what in ("x", "y", "z", "tokenize"))
        assert between <= 1, binding.happened


def test_one_kind_of_unary_work_does_not_wait_for_another_kind() -> None:
    binding = Slow()
    script = Script(binding)
    script.run(LOAD, Embed(2, "x" * 50), Embed(3, "x" * 50), Tokenize(4, "t"), Detokenize(5, [1]))
    ids = [getattr(answer, "id", 0) for answer in script.answers]
    assert ids == [1, 4, 5, 2, 3]


def test_embeddings_are_computed_one_after_another() -> None:
    """A binding may have one context for them."""
    binding = Slow()
    script = Script(binding)
    script.run(LOAD, Embed(2, "ab"), Embed(3, "cd"))
    assert binding.happened[1:] == [
        "embed ab", "a", "b", "close ab", "embed cd", "c", "d", "close cd", "end",
    ]  # fmt: skip


def test_a_cancel_ends_an_embedding_between_two_pieces() -> None:
    binding = Slow()
    script = Script(binding)
    original = Slow.embed_pieces

    def watched(text: str) -> Iterator[list[float] | None]:
        for count, piece in enumerate(original(binding, text)):
            if text == "long" * 10 and count == 3:
                script.pump.cancel(2)
            yield piece

    binding.embed_pieces = watched  # type: ignore[method-assign]
    script.run(LOAD, Embed(2, "long" * 10), Embed(3, "ab"))
    assert script.answer(2) == Finished(2, "cancelled", 0)
    assert script.answer(3) == Embedded(3, [2.0])
    assert binding.happened.count("g") < 3
    assert "close " + "long" * 10 in binding.happened


def test_each_piece_of_unary_work_is_a_step() -> None:
    script = Script(Slow())
    script.run(LOAD, Embed(2, "x" * 100))
    assert script.pump.steps > 100


def test_a_load_waits_until_no_unary_request_is_open() -> None:
    binding = Slow()
    script = Script(binding)
    script.run(LOAD, Embed(2, "ab"), Tokenize(3, "t"), Load(4, "other"))
    assert binding.happened.index("load other") > binding.happened.index("close ab")
    assert [getattr(answer, "id", 0) for answer in script.answers] == [1, 3, 2, 4]


def test_an_embedding_that_fails_fails_alone() -> None:
    script = Script(Slow())
    script.run(LOAD, Embed(2, "ab!"), Embed(3, "ab"))
    assert script.answer(2) == Failed(2, ErrorCode.BINDING_ERROR, "no exclamations, please")
    assert script.answer(3) == Embedded(3, [2.0])


def test_an_iterator_without_a_result_is_the_bindings_error() -> None:
    class Empty(Letters):
        def tokenize_pieces(self, text: str) -> Iterator[list[int] | None]:
            return iter([None, None])

    script = Script(Empty())
    script.run(LOAD, Tokenize(2, "x"))
    assert script.answer(2) == Failed(
        2, ErrorCode.BINDING_ERROR, "the binding ended without a result"
    )


def test_progress_inside_a_native_call_is_part_of_the_steps() -> None:
    class Native(Letters):
        operations = 0

        def progress(self) -> int:
            if self.operations == 13:
                raise ZeroDivisionError
            return self.operations

    binding = Native()
    pump = Script(binding).pump
    before = pump.steps
    binding.operations = 12
    assert pump.steps == before + 12
    binding.operations = 13
    assert pump.steps == before
