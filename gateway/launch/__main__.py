"""Run the whole server in the foreground, as one command: `make run`.

It prepares the home, runs supervisor as its child, and says when the server is ready. However
it ends, no process is left.
"""

import argparse
import os
import shlex
import sys

from gateway.config.loading import load_settings
from gateway.errors import StartError
from gateway.launch.launcher import Launcher
from gateway.launch.preparation import environment, inherited, prepare_home
from gateway.security.access import load_tokens
from gateway.security.tls import server_context
from gateway.storage.run_lock import launch_lock


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.launch",
        description="Run the whole server in the foreground: supervisor, gateway and workers. "
        "Settings come from LOLLMS_<NAME> variables and the config file; "
        "`python -m gateway --help` lists them.",
    )
    parser.add_argument(
        "--environment", action="store_true",
        help="only prepare the home, and print what supervisord.conf needs, as shell commands",
    )  # fmt: skip
    options = parser.parse_args()
    os.umask(0o077)  # no other user may read the files written here
    place = ""
    try:
        settings = load_settings([], os.environ)
        place = str(settings.home)  # the error of a write does not name its file
        tokens, _ = load_tokens(settings), server_context(settings)
        run, port = prepare_home(settings)
        with launch_lock(run):
            needed = environment(settings, run, port)
            if options.environment:
                for name, value in needed.items():
                    print(f"export {name}={shlex.quote(value)}")
                return 0
            return Launcher(settings, run, port, tokens.own_token).run(
                {**inherited(os.environ), **needed}
            )
    except OSError as error:
        why = f"{error.strerror}: {error.filename or place}" if error.strerror else f"{error}"
        print(f"cannot start: {why}", file=sys.stderr)
    except StartError as error:
        print(f"cannot start: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
