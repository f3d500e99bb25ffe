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

from protocol.join_file import JoinFile
from protocol.logs import set_up_logging, with_fields
from protocol.parent_death import die_with_supervisor
from protocol.run_folder import make_run_folder, run_folder, secret_file, workers_address
from worker.arguments import read_arguments
from worker.binding import Binding
from worker.binding_loader import BrokenBinding, NoSuchBinding, make_binding
from worker.link import Link, Refusal
from worker.outbox import Outbox
from worker.pump import Pump
from worker.sandbox.confine import CONFINED, enter
from worker.sandbox.permissions import Needs, asked_for, prepare

log = logging.getLogger("worker")

SENSELESS_TO_RETRY = 78
"""EX_CONFIG; supervisor does not start a worker again that ended with it."""
GRACE = 0.4
"""Seconds that a running `next()` gets to return when the worker is asked to stop."""


def main() -> int:
    arguments = read_arguments(sys.argv[1:])
    set_up_logging(arguments.log_level, arguments.log_format)
    faulthandler.enable()
    run = run_folder(arguments.home)
    try:
        make_run_folder(arguments.home)
    except OSError as error:  # somebody else's, it may be: then so is the gateway in it
        if not arguments.gateway:
            log.error("%s", error)
            return SENSELESS_TO_RETRY
    sandbox = confine(arguments, run)
    die_with_supervisor()  # behind what changes credentials, which forgets it
    try:
        binding = make_binding(arguments.binding, arguments.bindings_path)
    except NoSuchBinding as error:
        log.error("%s", error)
        return SENSELESS_TO_RETRY
    except BrokenBinding as error:
        log.error("the binding %s is broken", arguments.binding, exc_info=error.__cause__)
        log.error("%s", error)
        if isinstance(error.__cause__, PermissionError) and sandbox["files"] == CONFINED:
            log.error("folders outside that it needs are named by `reads:` in its card")
        return 1
    address = arguments.gateway or workers_address(run)
    try:
        return work(arguments, binding, address, secret_file(run), sandbox)
    except Refusal as refusal:
        log.error("the gateway refused this worker: %s", refusal)
        return SENSELESS_TO_RETRY
    except zmq.ZMQError as error:
        log.error("cannot talk to a gateway at %s: %s", address, error)
        return 1


def confine(arguments: argparse.Namespace, run: Path) -> dict[str, str]:
    """Take away what the binding does not need; what holds, for the gateway to show."""
    if not arguments.sandbox:
        return {"files": "open: switched off", "network": "open: switched off"}
    needs = Needs(
        binding=arguments.binding,
        bindings_path=arguments.bindings_path,
        models_path=arguments.models_path,
        hello=secret_file(run).parent,
        scratch=arguments.home / "tmp" / arguments.binding,
        memory=arguments.memory_limit,
        port=arguments.join.port if arguments.join else 0,
        **asked_for(arguments.bindings_path / arguments.binding),
    )
    prepare(needs)
    sandbox = enter(needs)
    log.info("sandbox", extra=with_fields(**sandbox))
    return sandbox


def work(
    arguments: argparse.Namespace,
    binding: Binding,
    address: str,
    secret: Path,
    sandbox: dict[str, str],
) -> int:
    """Serve the gateway until SIGTERM or SIGINT, or until the model thread dies.

    The binding has a thread of its own. Returns the process's exit status.
    """
    outbox = Outbox()
    joining: JoinFile | None = arguments.join
    here = (arguments.models_path / arguments.binding) if joining else None
    pump = Pump(binding, outbox.put, outbox.full, here)
    link = Link(
        pump,
        outbox,
        binding=arguments.binding,
        slots=lambda: max(1, binding.slots),
        resumable=binding.resumable,
        address=address,
        joining=joining,
        secret=lambda: joining.secret if joining else _read(secret),
        sandbox=sandbox,
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


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    os._exit(status)  # the model thread may be inside a native call that cannot be ended
