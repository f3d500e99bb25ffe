"""What the holder of one token learns of another's prompts: nothing, from no count."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import Client, client, home, run

pytest.importorskip("llama_cpp", reason="the embedded model needs llama-cpp-python")

ALICE, BOB = "alice-0123456789abcdef", "bob-0123456789abcdef"
STEM = "Dear doctor, please tell nobody what I have been told in the hospital today. It is my "
SECRET = "kidney"
GUESSES = ("heart", "liver", "stomach", SECRET, "brain", "lung", "mother")


async def reused(connected: Client, prompt: str) -> Any:
    fields = {"n_predicts": 2, "parameters": {"temperature": 0, "ignore_eos": True}}
    end = (await connected.generate(prompt, **fields))[-1]
    assert end[0] == "text_generated", end
    return end[1]["reused_tokens"]


def test_reused_tokens_are_the_same_for_a_right_and_a_wrong_guess(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"alice {ALICE}\nbob {BOB}\n")
    (tmp_path / "tokens").chmod(0o600)

    async def scenario() -> None:
        async with (
            client(server, auth={"token": ALICE}) as alice,
            client(server, auth={"token": ALICE}) as her_other_session,
            client(server, auth={"token": BOB}) as bob,
        ):
            whole = f"{STEM}{SECRET} that is ill, and I do not know what to do."
            assert await reused(alice, whole) == 0
            assert await reused(bob, f"{STEM}x") == 0
            own = await reused(bob, f"{STEM}y")  # what bob himself has asked
            assert own > 0
            found = {word: await reused(bob, f"{STEM}{word} that is ill.") for word in GUESSES}
            assert set(found.values()) == {own}, found
            assert await reused(her_other_session, whole) > own

    with home(tmp_path) as server:
        server.headers = {"Authorization": f"Bearer {ALICE}"}
        server.launch()
        run(scenario())
        assert json.loads(server.http("/status")[1])["tokens"].keys() == {"alice", "bob"}
