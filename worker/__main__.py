"""How is a worker started? `python -m worker BINDING`"""

import argparse
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import zmq

from protocol.logs import FORMATS, set_up_logging
from protocol.rundir import run_folder, secret_file, workers_address
from worker.binding import Binding
from worker.link import Link, Refusal
from worker.loading import BrokenBinding, NoSuchBinding, make_binding
from worker.outbox import Outbox
from worker.pump import Pump

log = logging.getLogger("worker")

CHECKOUT = Path(__file__).resolve().parent.parent
SENSELESS_TO_RETRY = 78
"""EX_CONFIG; supervisor does not start a worker again that ended with it."""
GRACE = 0.4
"""Seconds that a running `next()` gets to return when the worker is asked to stop."""


def main() -> int:
    arguments = _arguments(sys.argv[1:])
    set_up_logging(arguments.log_level, arguments.log_format)
    faulthandler.enable()
    try:
        binding = make_binding(arguments.binding, arguments.bindings_path)
    except NoSuchBinding as error:
        log.error("%s", error)
        return SENSELESS_TO_RETRY
    except BrokenBinding as error:
        log.error("the binding %s is broken", arguments.binding, exc_info=error.__cause__)
        log.error("%s", error)
        return 1
    run = run_folder(arguments.home)
    address = arguments.gateway or workers_address(run)
    try:
        return work(arguments.binding, binding, address, secret_file(run))
    except Refusal as refusal:
        log.error("the gateway refused this worker: %s", refusal)
        return SENSELESS_TO_RETRY
    except zmq.ZMQError as error:
        log.error("cannot talk to a gateway at %s: %s", address, error)
        return 1


def work(name: str, binding: Binding, address: str, secret: Path) -> int:
    """Serve the gateway until SIGTERM or SIGINT, or until the model thread dies.

    The binding has a thread of its own. Returns the process's exit status.
    """
    outbox = Outbox()
    pump = Pump(binding, outbox.put, outbox.full)
    link = Link(
        pump,
        outbox,
        binding=name,
        slots=lambda: max(1, binding.slots),
        resumable=binding.resumable,
        address=address,
        secret=lambda: _read(secret),
    )
    died: list[int] = []

    def model_thread() -> None:
        """Without it a worker is dead and has to be seen to be: the gateway watches the
        process. What was said before still goes out, if the link is quick."""
        if status := _run(pump):
            died.append(status)
            link.stop()
            time.sleep(GRACE)
            logging.shutdown()
            os._exit(status)

    thread = threading.Thread(target=model_thread, name="model", daemon=True)

    def finish() -> None:
        if not died:
            pump.stop()
            thread.join(GRACE)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: link.stop())
    thread.start()
    link.serve(finish)
    return died[0] if died else 0


def _run(pump: Pump) -> int:
    """0 when it was asked to stop, otherwise the status that the process is to end with."""
    try:
        pump.run()
    except SystemExit as error:
        log.critical("the binding asked the process to exit with %r", error.code)
        status = error.code & 0xFF if isinstance(error.code, int) else 1
        # Whatever the binding wishes, this is a failure, and supervisor is to start again.
        return 1 if status in (0, SENSELESS_TO_RETRY) else status
    except BaseException as error:
        log.critical("the model thread died", exc_info=error)
        return 1
    return 0


def _read(secret: Path) -> str:
    """The gateway that runs now wrote it; there is none without a gateway of this home."""
    try:
        return secret.read_text().strip()
    except OSError:
        return ""


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="worker", description="One process, one binding.")
    parser.add_argument("binding", help="name of a folder in the bindings folder")
    for name, default, text in (
        ("home", CHECKOUT / "var", "folder of the gateway's run folder"),
        ("gateway", "", "ZeroMQ address of the gateway, if it is not that of the home"),
        ("bindings_path", CHECKOUT / "bindings", "folder of the bindings"),
        ("log_level", "info", "debug, info, warning or error"),
        ("log_format", "text", "text or json"),
    ):
        parser.add_argument(
            *dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")),
            default=os.environ.get(f"LOLLMS_{name.upper()}") or default,
            type=Path if isinstance(default, Path) else str,
            help=f"{text} (default: %(default)s)",
        )
    arguments = parser.parse_args(given)
    if arguments.log_level.upper() not in logging.getLevelNamesMapping():
        parser.error(f"there is no log level {arguments.log_level!r}")
    if arguments.log_format not in FORMATS:
        parser.error(f"there is no log format {arguments.log_format!r}")
    return arguments


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    os._exit(status)  # the model thread may be inside a native call that cannot be ended
