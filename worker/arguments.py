"""The command line of a worker: flags, and `LOLLMS_*` variables of the same names."""

import argparse
import logging
import os
import stat
from pathlib import Path

from protocol.binding_card import PERMISSIONS
from protocol.join_file import BadJoinFile, JoinFile, parse
from protocol.logs import FORMATS
from protocol.run_folder import CHECKOUT


def read_arguments(argv: list[str]) -> argparse.Namespace:
    """Exit with one sentence if an argument is invalid."""
    parser = argparse.ArgumentParser(
        prog="python -m worker",
        description="Run one binding in this process. Each flag can also be set by an "
        "environment variable, such as LOLLMS_HOME for --home.",
    )
    parser.add_argument("binding", help="name of a folder in the bindings folder")
    for name, kind, default, text in (
        ("home", Path, CHECKOUT / "var", "home of the server"),
        ("gateway", str, "", "ZeroMQ address of the gateway, if it is not the one of the home"),
        ("join", Path, None, "join file, to join a gateway on another machine"),
        ("bindings_path", Path, CHECKOUT / "bindings", "folder of the bindings"),
        ("models_path", Path, None, "folder of the models, if it is not models/ in the home"),
        ("memory_limit", _mebibytes, 0, "memory limit in MiB; 0 means no limit"),
        ("allow", _permissions, frozenset(), "what to grant of network,reads,writes in the card"),
        ("sandbox", _yes_no, True, "yes, or no to allow everything"),
        ("log_level", _level, "INFO", "debug, info, warning or error"),
        ("log_format", _format, "text", "text or json"),
    ):
        variable = os.environ.get(f"LOLLMS_{name.upper()}")
        default_text = {True: "yes", None: "", frozenset(): ""}.get(default, default)  # type: ignore[arg-type]
        parser.add_argument(
            *dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")),
            default=variable or default,
            type=kind,
            metavar="VALUE",
            help=text + (f" (default: {default_text})" if default_text != "" else ""),
        )
    arguments = parser.parse_args(argv)
    if arguments.join:
        arguments.join = _read_join_file(parser, arguments.join)
        arguments.gateway = arguments.join.gateway
    arguments.models_path = arguments.models_path or arguments.home / "models"
    return arguments


def _read_join_file(parser: argparse.ArgumentParser, path: Path) -> JoinFile:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            parser.error(f"{path} holds secrets and others can read it: chmod 600 {path}")
        return parse(path.read_text())
    except OSError as error:
        parser.error(f"{path}: {error.strerror}")
    except ValueError as error:  # BadJoinFile, or not UTF-8
        reason = error if isinstance(error, BadJoinFile) else "not a text file"
        parser.error(f"{path}: {reason}")


def _mebibytes(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"expected a number of MiB, not {text[:64]!a}")
    return int(text)


def _permissions(text: str) -> frozenset[str]:
    names = frozenset(filter(None, text.replace(" ", "").split(",")))
    if not names <= set(PERMISSIONS):
        raise argparse.ArgumentTypeError(f"expected {','.join(PERMISSIONS)}, not {text[:64]!a}")
    return names


def _yes_no(text: str) -> bool:
    words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"expected yes or no, not {text[:64]!a}")
    return words[text.lower()]


def _level(text: str) -> str:
    if text.upper() not in logging.getLevelNamesMapping():
        raise argparse.ArgumentTypeError(f"unknown log level {text[:64]!a}")
    return text.upper()


def _format(text: str) -> str:
    if text not in FORMATS:
        raise argparse.ArgumentTypeError(f"unknown log format {text[:64]!a}")
    return text
