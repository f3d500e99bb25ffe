"""The model sees personality, discussion and prompt as one text."""

from datetime import datetime
from typing import Any

from gateway.personalities.personality import Personality
from gateway.personalities.prompts import compose
from gateway.sessions.discussion import Discussion

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
