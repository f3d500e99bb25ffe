"""Flags and `--help` of the settings, and their table for the documentation."""

import argparse
from collections.abc import Sequence
from dataclasses import Field
from typing import Any, NoReturn

from gateway.config import values
from gateway.config.settings import table
from gateway.errors import BadSetting

PREFIX = "LOLLMS_"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadSetting(message)


def read_flags(argv: Sequence[str]) -> dict[str, str | None]:
    """Name to what was given. Raise BadSetting; `--help` ends the program."""
    parser = _Parser(
        prog="python -m gateway",
        description="A lightweight multiprocess server for language models.",
        epilog="Each is also an environment variable (LOLLMS_PORT) and a key of the config file "
        "(port); a flag wins over the environment, and both over the file.",
        allow_abbrev=False,
    )
    for each in table():
        spellings = dict.fromkeys((f"--{each.name}", f"--{each.name.replace('_', '-')}"))
        yes_no = each.metadata["kind"] is values.yes_no
        text = f"{each.metadata['meaning']} (default: {_default(each)})"
        parser.add_argument(
            *spellings,
            dest=each.name,
            metavar="VALUE",
            # `--insecure` alone means yes.
            nargs="?" if yes_no else None,
            const="yes" if yes_no else None,
            help=text.replace("`", "").replace("%", "%%"),
        )
    return vars(parser.parse_args(list(argv)))


def _default(setting: Field[Any]) -> str:
    text: str = setting.metadata["default_text"]
    if text:
        return text
    default = setting.metadata["default"]
    return (
        f"{default:g}" if isinstance(default, float) else str(default) if default != () else "none"
    )


def markdown_table() -> str:
    """For docs/settings.md. The key in the config file is the flag without its dashes."""
    rows = [
        "| flag | environment | default | meaning |",
        "|---|---|---|---|",
        *(
            f"| `--{each.name}` | `{PREFIX}{each.name.upper()}` "
            f"| {_default(each)} | {each.metadata['meaning']} |"
            for each in table()
        ),
    ]
    return "\n".join(rows) + "\n"
