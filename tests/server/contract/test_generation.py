"""An accepted generate_text yields text_chunk events, then exactly one end event."""

from typing import Any

from tests.support.harness import Client, Event, Home, chunks, client, names, run

CANCELED = {"message": "Generation is canceled."}
BUZZY = "I am buzzy. Come back later."


async def select(connected: Client, binding: str, model: str) -> None:
    answer = await connected.ask(
        "select_binding", {"binding_name": binding}, reply="select_binding"
    )
    assert answer["success"], answer
    answer = await connected.ask("select_model", {"model_name": model}, reply="select_model")
    assert answer == {"success": True, "model_name": model}


def ends_once(events: list[Event]) -> Any:
    """Check that chunks are followed by exactly one end; return its payload."""
    ends = [name for name in names(events) if name != "text_chunk"]
    assert len(ends) == 1 and events[-1][0] == ends[0], names(events)
    return events[-1][1]


def test_chunks_then_the_text_that_they_make(server: Home) -> None:
    async def scenario() -> list[Event]:
        async with client(server) as connected:
            return await connected.generate("Once", n_predicts=50) + await connected.settle()

    events = run(scenario())
    end = ends_once(events)
    assert end["text"] == chunks(events) and len(end["text"].split()) == 50
    assert all(data["type"] == 0 and type(data["type"]) is int for _, data in events[:-1])
    assert all(data["chunk"] for _, data in events[:-1])
    assert {data["id"] for _, data in events} == {end["id"]}
    assert end["tokens"] == 50 and end["dropped_tokens"] == 0


def test_an_acknowledgement_carries_the_end(server: Home) -> None:
    async def scenario() -> Any:
        async with client(server) as connected:
            data = {"prompt": "Once", "n_predicts": 5}
            answer = await connected.sio.call("generate_text", data)
            return answer, await connected.reply("text_generated")

    answer, end = run(scenario())
    assert answer == end


def test_positional_arguments_and_numeric_strings_are_taken(server: Home) -> None:
    async def scenario() -> Any:
        async with client(server) as connected:
            await connected.emit("generate_text", "Once", -1, 7)
            first = await connected.reply("text_generated")
            second = await connected.generate(
                "Once", personality="-1", n_predicts="7", unknown={"a": 1},
                parameters={"temperature": "0.5", "top_k": "3", "seed": "4", "nonsense": [1]},
            )  # fmt: skip
            return first, second[-1][1]

    first, second = run(scenario())
    assert first["tokens"] == second["tokens"] == 7


def test_the_same_seed_gives_the_same_text(server: Home) -> None:
    async def scenario() -> list[str]:
        async with client(server) as connected:
            return [
                (await connected.generate("x", n_predicts=9, parameters={"seed": seed}))[-1][1][
                    "text"
                ]
                for seed in (1, 1, 2)
            ]

    one, again, other = run(scenario())
    assert one == again != other


def test_a_parameter_out_of_range_is_named(server: Home) -> None:
    wrong = [
        ({"temperature": -1}, "temperature"),
        ({"top_p": 7}, "top_p"),
        ({"seed": 2**40}, "seed"),
        ({"top_k": True}, "top_k"),
        ({"repeat_penalty": "hot"}, "repeat_penalty"),
        ({"stop": {"a": 1}}, "stop"),
    ]

    async def scenario() -> list[tuple[str, list[Event]]]:
        async with client(server) as connected:
            answers = []
            for parameters, key in wrong:
                events = await connected.generate("x", parameters=parameters)
                answers.append((key, events + await connected.settle()))
            for field, value in (("n_predicts", 0), ("n_predicts", "many"), ("parameters", [1])):
                events = await connected.generate("x", **{field: value})
                answers.append((field, events + await connected.settle()))
            await connected.emit("generate_text")
            events = await connected.until("generation_error")
            answers.append(("prompt", events + await connected.settle()))
            fine = await connected.generate("x", n_predicts=3)
            assert names(fine)[-1] == "text_generated"
            return answers

    for key, events in run(scenario()):
        assert names(events) == ["generation_error"], (key, events)
        assert key in events[0][1]["error"]


def test_an_unmounted_personality_is_an_error(server: Home) -> None:
    async def scenario() -> list[Event]:
        async with client(server) as connected:
            return await connected.generate("x", personality=99) + await connected.settle()

    events = run(scenario())
    assert names(events) == ["generation_error"] and "99" in events[0][1]["error"]


def test_a_stop_string_ends_the_text_before_itself(server: Home) -> None:
    async def scenario() -> Any:
        async with client(server) as connected:
            await select(connected, "echo", "echo")
            return await connected.generate("one two END three", parameters={"stop": ["END"]})

    events = run(scenario())
    assert events[-1][1]["text"].rstrip() == "one two" == chunks(events).rstrip()


def test_cancel_when_idle_is_answered_every_time(server: Home) -> None:
    async def scenario() -> list[Event]:
        async with client(server) as connected:
            for _ in range(2):
                await connected.emit("cancel_generation")
                await connected.emit("cancel_generation", {"a": 1})
            return await connected.settle()

    assert run(scenario()) == [("generation_canceled", CANCELED)] * 4


def test_cancel_in_the_middle_ends_with_the_partial_text(server: Home) -> None:
    async def scenario() -> list[Event]:
        async with client(server) as connected:
            await select(connected, "echo", "lorem-10ms")
            await connected.emit("generate_text", {"prompt": "x", "n_predicts": 10_000})
            events = [await connected.next("text_chunk") for _ in range(3)]
            await connected.emit("cancel_generation")
            events += await connected.until("text_generated")
            await connected.emit("cancel_generation")
            events += await connected.until("generation_canceled")
            again = await connected.generate("x", n_predicts=3)  # the slot is free at once
            assert ends_once(again)["tokens"] == 3
            return events + await connected.settle()

    events = run(scenario())
    ends = [name for name in names(events) if name != "text_chunk"]
    assert ends == ["generation_canceled", "text_generated", "generation_canceled"]
    end = next(data for name, data in events if name == "text_generated")
    assert end["text"] == chunks(events) != ""


def test_cancel_before_the_first_chunk(server: Home) -> None:
    async def scenario() -> list[Event]:
        async with client(server) as connected:
            await connected.emit("generate_text", {"prompt": "x", "n_predicts": 100_000})
            await connected.emit("cancel_generation")
            events = await connected.until("text_generated")
            return events + await connected.settle()

    events = run(scenario())
    assert [name for name in names(events) if name != "text_chunk"] == [
        "generation_canceled", "text_generated",
    ]  # fmt: skip
    assert events[-1][1]["text"] == chunks(events)


def test_cancel_racing_the_end_leaves_one_end(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            await select(connected, "echo", "lorem")
            for n_predict in range(1, 80):
                await connected.emit("generate_text", {"prompt": "x", "n_predicts": n_predict})
                await connected.emit("cancel_generation")
                events = await connected.until("generation_canceled")
                events += await connected.settle()
                seen = names(events)
                assert seen.count("text_generated") == 1
                assert seen.count("generation_canceled") == 1
                assert "text_chunk" not in seen[seen.index("text_generated") :]
                text = next(data["text"] for name, data in events if name == "text_generated")
                assert text == chunks(events)

    run(scenario())


def test_a_second_generation_on_a_busy_socket_is_buzzy(server: Home) -> None:
    async def scenario() -> list[Event]:
        async with client(server) as connected:
            await select(connected, "echo", "lorem-10ms")
            await connected.emit("generate_text", {"prompt": "x", "n_predicts": 30})
            await connected.next("text_chunk")
            await connected.emit("generate_text", {"prompt": "y", "n_predicts": 30})
            first = await connected.until("buzzy")
            return first + await connected.until("text_generated") + await connected.settle()

    events = run(scenario())
    buzzy = next(data for name, data in events if name == "buzzy")
    assert buzzy["message"] == BUZZY
    assert names(events).count("text_generated") == 1 and names(events)[-1] == "text_generated"


def test_cancel_while_queued_behind_another_session(server: Home) -> None:
    async def scenario() -> tuple[list[Event], list[Event]]:
        async with client(server) as one, client(server) as two:
            await select(one, "single", "one")
            await select(two, "single", "one")
            await one.emit("generate_text", {"prompt": "x", "n_predicts": 60})
            first = await one.next("text_chunk")
            await two.emit("generate_text", {"prompt": "y", "n_predicts": 60})
            await two.settle()  # its generation waits for the only slot
            await two.emit("cancel_generation")
            queued = await two.until("text_generated") + await two.settle()
            return queued, [first, *await one.until("text_generated")]

    queued, running = run(scenario())
    assert names(queued) == ["generation_canceled", "text_generated"]
    assert queued[-1][1]["text"] == ""
    assert len(ends_once(running)["text"].split()) == 60
