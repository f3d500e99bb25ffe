"""Show text of the server in the terminal, where it must control nothing.

A model, a name or an error may contain escape sequences, which move the cursor, fill
the clipboard or change the title, and marks that reverse the direction of text.
"""

import re

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters except line break and tab, marks of direction, invisible characters, and
what UTF-8 cannot encode. Not the joiners U+200C and U+200D: scripts and emoji need them."""


def harmless(value: object) -> str:
    """Each unsafe character as Python's escape sequence, such as `\\x1b`. It looks at single
    characters, so a sequence that comes in several chunks is found, too."""
    return _UNSAFE.sub(lambda match: ascii(match[0])[1:-1], str(value))


def one_line(value: object) -> str:
    """The same, for names: line breaks and tabs become spaces."""
    return harmless(str(value).replace("\n", " ").replace("\t", " "))
