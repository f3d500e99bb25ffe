"""Whose selection becomes whose default: the holder's own, and everybody's only by an operator."""

import json
from pathlib import Path
from typing import Any

from tests.server.contract.test_generation import select
from tests.server.contract.test_selections import first_personality, served_by
from tests.support.harness import Client, Home, client, home, run

OPERATOR, BOB, CAROL = (f"{name}-0123456789abcdef" for name in ("operator", "bob", "carol"))
ONE, TWO = "one0", "two0"
"""First words of the models of the binding `single`."""


async def fresh(server: Home, token: str) -> tuple[str, Any]:
    """What a new session is served by, and its personality."""
    async with client(server, auth={"token": token}) as connected:
        return await served_by(connected), (await connected.greeting())["personality"]


def default(server: Home) -> str:
    return str(json.loads(server.http("/ready")[1])["model"])


async def activate(connected: Client) -> None:
    path = "english/" + await first_personality(connected)
    await connected.ask("add_personality", {"path": path}, reply="personality_added")
    answer = await connected.ask("activate_personality", {"id": 0}, reply="activate_personality")
    assert answer["success"]


def test_a_selection_is_the_default_of_its_holder_and_of_all_by_an_operator(
    tmp_path: Path, bindings: Path
) -> None:
    (tmp_path / "tokens").write_text(f"root {OPERATOR} operator\nbob {BOB}\ncarol {CAROL}\n")
    (tmp_path / "tokens").chmod(0o600)

    async def select_all() -> None:
        async with client(server, auth={"token": BOB}) as bob:
            await select(bob, "single", "two")
            await activate(bob)
            assert await fresh(server, BOB) == (TWO, 0)
            assert await fresh(server, CAROL) == await fresh(server, OPERATOR) == (ONE, None)
            assert default(server) == "one"
            async with client(server, auth={"token": OPERATOR}) as operator:
                await select(operator, "echo", "lorem")
                await activate(operator)
            assert default(server) == "lorem"
            for token in (CAROL, OPERATOR):
                word, personality = await fresh(server, token)
                assert word not in (ONE, TWO) and personality == 0
            assert await fresh(server, BOB) == (TWO, 0)
            assert await served_by(bob) == TWO

    async def after_a_restart() -> None:
        assert await fresh(server, BOB) == (TWO, 0), "his default is his own also now"
        assert await fresh(server, CAROL) == (ONE, 0), "the settings name the server's default"

    with home(
        tmp_path, bindings_path=str(bindings), binding_name="single", model_name="one"
    ) as server:
        server.headers = {"Authorization": f"Bearer {CAROL}"}
        gateway = server.gateway()
        for binding in ("echo", "single", "single"):
            server.worker(binding)
        server.ready()
        run(select_all())
        gateway.terminate()
        assert gateway.wait(10) == 0
        server.gateway()
        run(after_a_restart())


def test_the_only_token_of_a_server_is_an_operator_s(tmp_path: Path, bindings: Path) -> None:
    async def scenario() -> None:
        async with client(server, auth={"token": BOB}) as connected:
            await select(connected, "single", "two")
        assert await fresh(server, BOB) == (TWO, None)

    with home(
        tmp_path, bindings_path=str(bindings), binding_name="single", model_name="one", api_key=BOB
    ) as server:
        server.headers = {"Authorization": f"Bearer {BOB}"}
        server.gateway()
        for _ in range(2):
            server.worker("single")
        server.ready()
        run(scenario())
        assert default(server) == "two"
