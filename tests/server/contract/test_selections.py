"""Selections of binding, model and personalities: their scope, and no effect of a failure."""

from pathlib import Path
from typing import Any

from tests.server.contract.test_generation import ends_once, select
from tests.support.harness import Client, Home, client, home, names, run


async def served_by(connected: Client) -> str:
    """The first word that the selected model generates."""
    return str(ends_once(await connected.generate("x", n_predicts=2))["text"].split()[0])


def test_a_binding_is_selected_once_a_worker_of_it_answers(server: Home) -> None:
    async def scenario() -> Any:
        async with client(server) as connected:
            data = {"binding_name": "echo", "extra": 1}
            answer = await connected.sio.call("select_binding", data)
            return answer, await connected.reply("select_binding")

    answer, event = run(scenario())
    assert answer == event == {"success": True, "binding_name": "echo"}


def test_a_binding_that_cannot_be_loaded_leaves_the_old_one(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            await select(connected, "single", "one")
            for name in ("nonsense", "../echo", "", "stubborn"):  # no stubborn worker runs
                answer = await connected.ask(
                    "select_binding", {"binding_name": name}, reply="select_binding"
                )
                assert answer["success"] is False and answer["binding_name"] == name
                assert answer["error"].startswith("Couldn't load binding:\n")
            for payload in ((), ({},), ({"binding_name": 7},), ([],)):
                answer = await connected.ask("select_binding", *payload, reply="select_binding")
                assert answer["success"] is False and answer["error"]
            assert await served_by(connected) == "one0"

    run(scenario())


def test_a_model_that_cannot_be_loaded_leaves_the_old_one(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            await select(connected, "single", "one")
            for name in ("broken", "absent.gguf", "nonsense", "../one", ""):
                answer = await connected.ask(
                    "select_model", {"model_name": name}, reply="select_model"
                )
                assert answer["success"] is False and answer["model_name"] == name
                assert answer["error"] and "Traceback" not in answer["error"]
            answer = await connected.ask("select_model", {}, reply="select_model")
            assert answer["success"] is False and "model_name" in answer["error"]
            assert await served_by(connected) == "one0"

    run(scenario())


def test_a_failing_load_says_the_true_reason(server: Home) -> None:
    async def scenario() -> Any:
        async with client(server) as connected:
            await select(connected, "single", "one")
            return await connected.ask(
                "select_model", {"model_name": "broken"}, reply="select_model"
            )

    assert "byte 17" in run(scenario())["error"]


def test_a_model_before_a_binding_asks_for_the_binding(tmp_path: Path) -> None:
    async def scenario(server: Home) -> Any:
        async with client(server) as connected:
            generated = await connected.generate("x")
            assert names(generated) == ["generation_error"]
            assert generated[0][1]["error"] == "No binding selected"
            return await connected.ask("select_model", {"model_name": "x"}, reply="select_model")

    with home(tmp_path) as server:
        server.gateway("--binding_name", "")
        answer = run(scenario(server))
    assert answer == {
        "success": False, "model_name": "x", "error": "Please select a binding first",
    }  # fmt: skip


def test_a_selection_is_the_sessions_own_and_the_default_of_those_without_one(
    server: Home,
) -> None:
    async def scenario() -> None:
        async with client(server) as one, client(server) as two, client(server) as three:
            await select(one, "echo", "lorem")
            await select(two, "single", "two")
            assert await served_by(two) == await served_by(three) == "two0"
            assert await served_by(one) != "two0"
            async with client(server) as fresh:
                assert await served_by(fresh) == "two0"

    run(scenario())


def test_a_selection_never_disturbs_a_running_stream(server: Home) -> None:
    async def scenario() -> Any:
        async with client(server) as one, client(server) as two:
            await select(one, "single", "one")
            await one.emit("generate_text", {"prompt": "x", "n_predicts": 60})
            first = await one.next("text_chunk")
            await select(two, "single", "two")  # waits for the only worker of that binding
            rest = await one.until("text_generated")
            assert await served_by(two) == "two0"
            assert await served_by(one) == "one0"
            return [first, *rest]

    end = ends_once(run(scenario()))
    assert end["text"].split() == [f"one{n}" for n in range(60)]


def test_who_waits_for_a_model_and_leaves_holds_nobody_up(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as one, client(server) as three:
            for each in (one, three):
                await select(each, "single", "one")
            await one.emit("generate_text", {"prompt": "x", "n_predicts": 100})
            first = await one.next("text_chunk")
            async with client(server) as two:
                await two.ask("select_binding", {"binding_name": "single"}, reply="select_binding")
                await two.emit("select_model", {"model_name": "two"})
                await two.settle()
            assert await served_by(three) == "one0"
            ends_once([first, *await one.until("text_generated")])

    run(scenario())


def test_a_request_after_a_selection_is_served_by_it(server: Home) -> None:
    async def scenario() -> str:
        async with client(server) as connected:
            await connected.emit("select_binding", {"binding_name": "single"})
            await connected.emit("select_model", {"model_name": "two"})
            await connected.emit("generate_text", {"prompt": "x", "n_predicts": 1})
            return str((await connected.reply("text_generated"))["text"])

    assert run(scenario()).strip() == "two0"


def test_selections_survive_a_restart(tmp_path: Path, bindings: Path) -> None:
    async def choose(server: Home) -> None:
        async with client(server) as connected:
            await select(connected, "single", "two")
            path = "english/" + await first_personality(connected)
            await connected.ask("add_personality", {"path": path}, reply="personality_added")
            await connected.ask("activate_personality", {"id": 0}, reply="activate_personality")

    async def check(server: Home) -> None:
        async with client(server) as connected:
            assert await served_by(connected) == "two0"
            mounted = await connected.ask(
                "list_active_personalities", reply="active_personalities_list"
            )
            assert len(mounted["personalities"]) == 1
            assert (await connected.greeting())["personality"] == 0, "the default of new sessions"

    with home(tmp_path, bindings_path=str(bindings)) as server:
        gateway = server.gateway()
        server.worker("single")
        run(choose(server))
        gateway.terminate()
        assert gateway.wait(10) == 0
        server.gateway()
        run(check(server))


async def first_personality(connected: Client) -> str:
    listed = await connected.ask("list_available_personalities", reply="personalities_list")
    category, entries = next(iter(listed["personalities"]["english"].items()))
    return f"{category}/{entries[0]['folder']}"


def test_mounting_twice_gives_the_same_id(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            path = "english/" + await first_personality(connected)
            first, again = [
                await connected.ask("add_personality", {"path": path}, reply="personality_added")
                for _ in range(2)
            ]
            assert first == again and first["success"] is True
            assert isinstance(first["name"], str) and isinstance(first["id"], int)
            listed = await connected.ask(
                "list_active_personalities", reply="active_personalities_list"
            )
            assert listed["success"] is True
            assert listed["personalities"][first["id"]] == first["name"]
            by_id = await connected.ask(
                "activate_personality", {"id": str(first["id"])}, reply="activate_personality"
            )
            by_name = await connected.ask(
                "activate_personality", {"personality_name": first["name"]},
                reply="activate_personality",
            )  # fmt: skip
            assert by_id == by_name == {"success": True, "name": first["name"], "id": first["id"]}

    run(scenario())


def test_a_personality_that_cannot_be_mounted_is_one_failure(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            for path in ("english/nope/nobody", "../../etc", "/etc/passwd", "a", "", 7, None):
                await connected.emit("add_personality", {"path": path})
                events = await connected.until("personality_add_failed")
                events += await connected.settle()
                assert names(events) == ["personality_add_failed"]
                assert events[0][1]["success"] is False and events[0][1]["error"]

    run(scenario())


def test_an_id_that_is_not_valid_fails_under_both_names(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            for id in (-1, 999, True, "x", None, 1.5, [0]):
                await connected.emit("activate_personality", {"id": id})
                events = await connected.until("activate_personality") + await connected.settle()
                assert names(events) == ["personality_add_failed", "activate_personality"]
                error = "Personality ID not valid"
                assert events[0][1] == {"success": False, "error": error}
                assert events[1][1]["success"] is False and events[1][1]["error"] == error
                assert "id" in events[1][1]

    run(scenario())


def test_tokenize_and_detokenize_are_inverse(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            await select(connected, "echo", "echo")
            answer = await connected.ask("tokenize", {"prompt": "héllo"}, reply="tokenized")
            assert answer["success"] is True and all(type(t) is int for t in answer["tokens"])
            for field in ("prompt", "tokens"):
                back = await connected.ask(
                    "detokenize", {field: answer["tokens"]}, reply="detokenized"
                )
                assert back == {"success": True, "text": "héllo"}
            bad = await connected.ask("tokenize", {}, reply="tokenized")
            assert bad["success"] is False and bad["tokens"] == [] and bad["error"]
            bad = await connected.ask("detokenize", {"tokens": ["x"]}, reply="detokenized")
            assert bad["success"] is False and bad["text"] == "" and bad["error"]

    run(scenario())
