"""A change to a message needs a new protocol version."""

from tests.protocol.golden import current, remembered

HOW = (
    "The messages differ from those of this protocol version. Bump PROTOCOL_VERSION in "
    "protocol/__init__.py, then run `python -m tests.protocol.update_golden`."
)


def test_a_changed_message_comes_with_a_new_version() -> None:
    assert current()["messages"] == remembered()["messages"], HOW


def test_the_version_is_the_remembered_one() -> None:
    assert current()["version"] == remembered()["version"], HOW
