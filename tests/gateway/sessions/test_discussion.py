"""A discussion keeps what was said, in order and within its limits."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.personalities.personality import Personality
from gateway.sessions.discussion import MAX_CHARACTERS, MAX_EXCHANGES, Discussion
from tests.gateway.personalities.test_prompts import PIRATE, PLACE


def test_as_a_conversation_nothing_stands_around_what_was_said() -> None:
    discussion = Discussion()
    discussion.add("Hi", "  Ahoy!\n")
    discussion.add("Who?", "Me")
    assert discussion.turns() == ["Hi", "Ahoy!", "Who?", "Me"]


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
