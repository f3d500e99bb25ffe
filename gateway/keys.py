"""Make tokens for clients and keys for remote workers: `python -m gateway.keys`.

Secrets are written to files that only their owner can read; a token is also printed, to be
passed on.
"""

import argparse
import os
import secrets
import sys
from pathlib import Path

import zmq

from gateway.config.command_line import PREFIX
from gateway.config.loading import load_settings
from gateway.config.settings import Settings
from gateway.errors import BadSetting
from gateway.security.tokens_file import MAX_NAME, OPERATOR, read_tokens
from gateway.security.worker_keys import WorkerKeys, digest, gateway_key, key_file, list_file
from gateway.storage.untrusted_files import is_plain
from gateway.validation import shown
from protocol.join_file import JoinFile, is_address, write


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.keys",
        description="Make tokens for clients, and keys for workers on other machines.",
    )
    parser.add_argument("--home", help=f"as for the gateway (default: {PREFIX}HOME, or var/)")
    commands = parser.add_subparsers(dest="command", required=True)
    token = commands.add_parser("token", help="make a token for a client; it is printed only once")
    token.add_argument("name", help="name of its user, for the log")
    token.add_argument(
        "--operator", action="store_true",
        help="the user's selections become the server's defaults, for everybody without own ones",
    )  # fmt: skip
    worker = commands.add_parser("worker", help="make a join file for a worker on another machine")
    worker.add_argument("name", help="name of the worker, for example its machine")
    worker.add_argument("address", help="HOST:PORT under which that machine reaches this one")
    options = parser.parse_args()
    try:
        settings = load_settings(["--home", options.home] if options.home else [], os.environ)
        check_name(options.name)
        if options.command == "token":
            print(new_token(settings, options.name, operator=options.operator))
            note = f"written to {settings.tokens_file}; a running server accepts it from now on"
        else:
            path = new_worker(settings, options.name, options.address)
            port = options.address.rpartition(":")[2]
            print(path)
            note = (
                f"copy it to that machine, and there: python -m worker BINDING --join {path.name}\n"
                f"the gateway needs --workers_tcp 0.0.0.0:{port}, or an address of this machine"
            )
    except BadSetting as error:
        print(f"keys: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"keys: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    print(note, file=sys.stderr)
    return 0


def check_name(name: str) -> None:
    """Raise BadSetting."""
    fit = is_plain(name) and name.isprintable() and not {" ", "#"} & set(name)
    if not fit or len(name) > MAX_NAME:
        raise BadSetting(f"a name is one word of up to {MAX_NAME} characters")


def new_token(settings: Settings, name: str, *, operator: bool = False) -> str:
    """Add a token to the file. Raise BadSetting when the file is unusable, or has the name."""
    if name in [holder.name for _, holder in read_tokens(settings)]:
        raise BadSetting(f"{settings.tokens_file} has a token of {name} already: remove its line")
    value = secrets.token_urlsafe(32)
    append_private(settings.tokens_file, f"{name} {value}{f' {OPERATOR}' * operator}\n")
    return value


def new_worker(settings: Settings, name: str, address: str) -> Path:
    """Add a worker to the allow-list. Return its join file. Raise BadSetting."""
    if not is_address(f"tcp://{address}"):
        raise BadSetting(f"HOST:PORT is expected, not {shown(address)}")
    home = settings.home
    if name in [entry[0] for entry in WorkerKeys(home).entries()]:
        raise BadSetting(f"{list_file(home)} has {name} already: remove its line")
    key_file(home).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not key_file(home).exists():
        append_private(key_file(home), zmq.curve_keypair()[1].decode() + "\n")
    public, secret = (key.decode() for key in zmq.curve_keypair())
    worker_secret = secrets.token_urlsafe(32)
    ours = zmq.curve_public(gateway_key(home)).decode()
    path = key_file(home).parent / f"{name}.join"
    path.unlink(missing_ok=True)
    append_private(path, write(JoinFile(f"tcp://{address}", ours, secret, worker_secret)))
    append_private(list_file(home), f"{name} {public} {digest(worker_secret)}\n")
    return path


def append_private(path: Path, text: str) -> None:
    """Append to a file that is created with mode 600, so no other user can ever read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "rb+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            text = text if file.read() == b"\n" else f"\n{text}"
        file.write(text.encode())


if __name__ == "__main__":
    sys.exit(main())
