"""Which tables of the documentation come from the code? `python -m tools.tables` writes them anew.

Each stands between `<!-- name -->` and `<!-- /name -->`; a test holds them to the code.
"""

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

from gateway.settings import markdown_table
from protocol.codec import vocabulary
from protocol.sampling import Sampling

ROOT = Path(__file__).resolve().parent.parent


def parameters() -> str:
    rows = ["| parameter | type | default | range |", "|---|---|---|---|"]
    for each in fields(Sampling):
        default = each.default if each.default is not MISSING else each.default_factory()  # type: ignore[misc]
        known = each.metadata
        span = f"{known['low']:g} to {known['high']:g}" if known else ""
        kind = getattr(each.type, "__name__", str(each.type))
        rows.append(f"| `{each.name}` | {kind} | `{default!r}` | {span} |")
    return "\n".join(rows) + "\n"


def messages() -> str:
    rows = ["| message | fields |", "|---|---|"]
    for name, described in vocabulary().items():
        if name != "Sampling":
            shown = ", ".join(f"`{field}`: {_short(kind)}" for field, kind in described.items())
            rows.append(f"| **{name}** | {shown or 'none'} |")
    return "\n".join(rows) + "\n"


def _short(annotation: str) -> str:
    kind = annotation.partition(" = ")[0].replace("protocol.messages.", "")
    kind = kind.replace("protocol.sampling.", "")
    return re.sub(r"<class '(\w+)'>", r"\1", kind).replace("|", "or")


TABLES = {
    "README.md": {"settings": markdown_table},
    "docs/events.md": {"parameters": parameters},
    "docs/protocol.md": {"messages": messages},
}


def written() -> Iterator[tuple[Path, str]]:
    """Each file, and what it should say."""
    for name, tables in TABLES.items():
        text = (ROOT / name).read_text()
        for mark, table in tables.items():
            begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
            head, _, rest = text.partition(begin)
            text = f"{head}{begin}{table()}{end}{rest.partition(end)[2]}"
        yield ROOT / name, text


if __name__ == "__main__":
    for path, text in written():
        path.write_text(text)
