"""Write the generated tables of the documentation: `python -m tools.docs_tables`.

Each table is between `<!-- name -->` and `<!-- /name -->`. A test compares them with the code.
"""

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from gateway.config.command_line import markdown_table
from protocol import messages as messages_module
from protocol.codec import vocabulary
from protocol.sampling import Sampling
from tools.layout import FLOORS, LIBRARIES, NEVER, PURE, ROOT, Module, modules

JSON_KINDS = {
    float: "number",
    int: "whole number",
    bool: "true or false",
    str: "text",
    list[str]: "list of texts",
    dict[str, float]: "object",
}


def parameters() -> str:
    rows = ["| parameter | kind | default | range |", "|---|---|---|---|"]
    for each in fields(Sampling):
        default = getattr(Sampling(), each.name)
        limits = each.metadata
        span = f"{_number(limits['low'])} to {_number(limits['high'])}" if limits else ""
        kind = JSON_KINDS[each.type]  # type: ignore[index]
        rows.append(f"| `{each.name}` | {kind} | `{json.dumps(default)}` | {span} |")
    return "\n".join(rows) + "\n"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def conversation() -> str:
    """The indented part of the docstring of `protocol.messages`."""
    lines = [line for line in inspect.getdoc(messages_module).splitlines() if line[:1] in ("", " ")]  # type: ignore[union-attr]
    return f"```\n{inspect.cleandoc(chr(10).join(lines))}\n```\n"


def messages() -> str:
    rows = ["| message | fields |", "|---|---|"]
    for name, kinds in vocabulary().items():
        if name != "Sampling":
            cell = ", ".join(f"`{field}`: {_short(kind)}" for field, kind in kinds.items())
            rows.append(f"| **{name}** | {cell or 'none'} |")
    return "\n".join(rows) + "\n"


def _short(annotation: str) -> str:
    kind = annotation.partition(" = ")[0].replace("protocol.messages.", "")
    kind = kind.replace("protocol.sampling.", "")
    return re.sub(r"<class '(\w+)'>", r"\1", kind).replace("|", "or")


def packages() -> str:
    """The gateway's packages and the modules in them, from the top floor down."""
    found = modules("gateway")
    rows = ["| place | what is there |", "|---|---|"]
    for name in (name for floor in FLOORS for name in floor):
        inside = [each for each in found if each.box == name]
        for module in sorted(inside, key=lambda each: each.name.count(".")):
            rows.append(f"| {_place(module)} | {_first_line(module)} |")
    return "\n".join(rows) + "\n"


def _place(module: Module) -> str:
    if module.path.name == "__init__.py":
        return f"**`{module.path.parent}/`**"
    return f"`{'/'.join(module.path.parts[1:])}`"


def _first_line(module: Module) -> str:
    return module.docstring.splitlines()[0].replace("|", "\\|")


def floors() -> str:
    """Who may import whom in the gateway."""
    rows = ["| floor | may import every floor below it, but |", "|---|---|"]
    for floor in FLOORS:
        names = " · ".join(f"`{name}`" for name in floor)
        rows.append(f"| {names} | {_exceptions(floor[0])} |")
    return "\n".join(rows) + "\n"


def _exceptions(name: str) -> str:
    return ", ".join(
        f"of `{other}` only {', '.join(f'`{each}`' for each in sorted(allowed))}"
        if allowed
        else f"not `{other}`"
        for other, allowed in NEVER.get(name, {}).items()
    )


def libraries() -> str:
    rows = ["| library | only in |", "|---|---|"]
    for library, places in LIBRARIES.items():
        names = ", ".join(f"`{place.removeprefix('gateway.')}`" for place in sorted(places))
        rows.append(f"| `{library}` | {names} |")
    return "\n".join(rows) + "\n"


def pure() -> str:
    return ", ".join(f"`{name}`" for name in PURE) + "\n"


TABLES = {
    "docs/architecture.md": {
        "packages": packages,
        "floors": floors,
        "libraries": libraries,
        "pure": pure,
    },
    "docs/settings.md": {"settings": markdown_table},
    "docs/events.md": {"parameters": parameters},
    "docs/protocol.md": {"conversation": conversation, "messages": messages},
}


def written() -> Iterator[tuple[Path, str]]:
    """Each file, and its text with up-to-date tables."""
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
