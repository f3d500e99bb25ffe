"""How does somebody get in? `python -m gateway.keys` writes a token for a client.

What is secret goes to files that only their owner can read, and to stdout where
somebody has to pass it on.
"""

import argparse
import os
import secrets
import sys
from pathlib import Path

from gateway.access import MAX_NAME, read_tokens
from gateway.confined import is_plain
from gateway.settings import PREFIX, BadSetting, Settings, load_settings


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.keys", description="Make what is needed to get in."
    )
    parser.add_argument("--home", help=f"as for the gateway (default: {PREFIX}HOME, or var/)")
    commands = parser.add_subparsers(dest="command", required=True)
    token = commands.add_parser("token", help="a token for a client; printed, and never again")
    token.add_argument("name", help="whose it is: the log calls them so")
    options = parser.parse_args()
    try:
        settings = load_settings(["--home", options.home] if options.home else [], os.environ)
        check_name(options.name)
        print(new_token(settings, options.name))
    except BadSetting as error:
        print(f"keys: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"keys: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"written to {settings.tokens_file}; the server reads it when it starts", file=sys.stderr)
    return 0


def check_name(name: str) -> None:
    """Raise BadSetting."""
    fit = is_plain(name) and name.isprintable() and not {" ", "#"} & set(name)
    if not fit or len(name) > MAX_NAME:
        raise BadSetting(f"a name is one word of up to {MAX_NAME} characters")


def new_token(settings: Settings, name: str) -> str:
    """Add one to the tokens file. Raise BadSetting when that cannot be used, or has the name."""
    if name in [holder.name for _, holder in read_tokens(settings)]:
        raise BadSetting(f"{settings.tokens_file} has a token of {name} already: remove its line")
    value = secrets.token_urlsafe(32)
    append_private(settings.tokens_file, f"{name} {value}\n")
    return value


def append_private(path: Path, text: str) -> None:
    """To a file that nobody else can read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "rb+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            text = text if file.read() == b"\n" else f"\n{text}"
        file.write(text.encode())


if __name__ == "__main__":
    sys.exit(main())
