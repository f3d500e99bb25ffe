"""What does the model see? Personality, discussion and prompt as one text."""

from datetime import datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.personalities.personality import Personality
from gateway.personalities.prompts import MAX_CHARACTERS, MAX_EXCHANGES, Discussion, compose

PLACE: dict[str, Any] = {"path": "e/f/p", "language": "e", "category": "f", "folder": "p"}
PIRATE = Personality(
    **PLACE,
    conditioning="Be a pirate.",
    user_message_prefix="\n!@>user: ",
    ai_message_prefix="!@>ai:\n",
    link_text="\n",
)


def test_without_a_personality_the_prompt_goes_as_it_is() -> None:
    assert compose(None, [], " raw {{date}}\n") == ("", [], " raw {{date}}\n")


def test_conditioning_discussion_and_prompt_in_the_personality_s_words() -> None:
    discussion = Discussion()
    discussion.add("Hi", "  Ahoy!\n")
    discussion.add("Who?", "Me")
    conditioning, blocks, prompt = compose(PIRATE, discussion.blocks(PIRATE), "And?")
    assert conditioning + "".join(blocks) + prompt == (
        "Be a pirate."
        "\n!@>user: Hi\n!@>ai:\nAhoy!"
        "\n!@>user: Who?\n!@>ai:\nMe"
        "\n!@>user: And?\n!@>ai:\n"
    )
    assert len(blocks) == 2


def test_as_a_conversation_nothing_stands_around_what_was_said() -> None:
    discussion = Discussion()
    discussion.add("Hi", "  Ahoy!\n")
    discussion.add("Who?", "Me")
    assert discussion.turns() == ["Hi", "Ahoy!", "Who?", "Me"]


def test_a_personality_without_prefixes_has_lollms_own() -> None:
    plain = Personality(**PLACE)
    assert compose(plain, [], "Hi") == ("", [], "## Human: Hi\n## lollms:")


def test_the_date_is_filled_in_where_the_conditioning_asks_for_it() -> None:
    dated = Personality(**PLACE, conditioning="{{date}}|{{time}}|{{date_time}}|{{user}}|{date}")
    now = datetime(2023, 8, 1, 14, 5, 9)
    conditioning, _, prompt = compose(dated, [], "{{date}}", now)
    assert conditioning == (
        "Tuesday, August 01, 2023|14:05:09|Tuesday, August 01, 2023 02:05:09 PM|{{user}}|{date}"
    )
    assert "{{date}}" in prompt


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.text())))
def test_a_discussion_keeps_what_was_said_in_order(exchanges: list[tuple[str, str]]) -> None:
    discussion = Discussion()
    for prompt, answer in exchanges:
        discussion.add(prompt, answer)
    bare = Personality(**PLACE, user_message_prefix="", ai_message_prefix="", link_text="|")
    kept = exchanges[-MAX_EXCHANGES:]
    assert discussion.blocks(bare) == [f"{q}|{a.strip()}" for q, a in kept]


def test_a_discussion_is_bounded_and_loses_the_oldest_first() -> None:
    discussion = Discussion()
    for number in range(MAX_EXCHANGES + 10):
        discussion.add(str(number), "a")
    blocks = discussion.blocks(PIRATE)
    assert len(blocks) == MAX_EXCHANGES and ": 10\n" in blocks[0]
    discussion.add("b", "a" * (MAX_CHARACTERS - 10))
    assert len(discussion.blocks(PIRATE)) < 10
    discussion.add("c", "a" * (MAX_CHARACTERS + 1))
    assert discussion.blocks(PIRATE) == []
    discussion.add("d", "fits again")
    assert len(discussion.blocks(PIRATE)) == 1
