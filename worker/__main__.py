"""Start a worker: `python -m worker BINDING`."""

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
from worker.models_folder import ModelsFolder
from worker.outbox import Outbox
from worker.pump import Pump
from worker.sandbox.card import answer, read_card, requested
from worker.sandbox.confine import CONFINED, OF_LINUX, confine
from worker.sandbox.permissions import SandboxNeeds, prepare

log = logging.getLogger("worker")

DO_NOT_RESTART = 78
"""EX_CONFIG; supervisor does not restart a worker that exits with it."""
GRACE = 0.4
"""Seconds in which a running `next()` may return after the worker was asked to stop."""


def main() -> int:
    arguments = read_arguments(sys.argv[1:])
    set_up_logging(arguments.log_level, arguments.log_format)
    faulthandler.enable()
    run = run_folder(arguments.home)
    try:
        make_run_folder(arguments.home)
    except OSError as error:  # perhaps another user's, and so would be the gateway in it
        if not arguments.gateway:
            log.error("%s", error)
            return DO_NOT_RESTART
    address = arguments.gateway or workers_address(run)
    sandbox = apply_sandbox(arguments, run, address)
    die_with_supervisor()  # after the sandbox: a change of credentials resets it
    try:
        binding = make_binding(arguments.binding, arguments.bindings_path)
    except NoSuchBinding as error:
        log.error("%s", error)
        return DO_NOT_RESTART
    except BrokenBinding as error:
        log.error("the binding %s is broken", arguments.binding, exc_info=error.__cause__)
        log.error("%s", error)
        missing = isinstance(error.__cause__, PermissionError | FileNotFoundError)
        if missing and sandbox["files"].startswith(CONFINED):
            log.error(
                "if the binding needs other folders, list them under `reads:` in its card, and "
                "allow them with bindings.%s.allow in config.yaml", arguments.binding,
            )  # fmt: skip
        return 1
    try:
        return work(arguments, binding, address, secret_file(run, arguments.binding), sandbox)
    except Refusal as refusal:
        log.error("the gateway refused this worker: %s", refusal)
        return DO_NOT_RESTART
    except zmq.ZMQError as error:
        log.error("cannot connect to a gateway at %s: %s", address, error)
        return 1


def apply_sandbox(arguments: argparse.Namespace, run: Path, address: str) -> dict[str, str]:
    """Take away what the binding does not need. Return the result of each measure, for Hello."""
    if not arguments.sandbox:
        return dict.fromkeys(OF_LINUX, "open: switched off")
    asked = requested(arguments.bindings_path / arguments.binding)
    socket = address.removeprefix("ipc://")
    needs = SandboxNeeds(
        binding=arguments.binding,
        bindings_path=arguments.bindings_path,
        models_path=arguments.models_path,
        secret_folder=secret_file(run, arguments.binding).parent,
        scratch=arguments.home / "tmp" / arguments.binding,
        memory=arguments.memory_limit,
        port=arguments.join.port if arguments.join else 0,
        gateway=None if socket == address or socket.startswith("@") else Path(socket).absolute(),
        granted=asked.only(arguments.allow),
    )
    prepare(needs)
    sandbox = confine(needs)
    if card := answer(asked, arguments.allow, arguments.binding):
        sandbox["card"] = card
        log.log(
            logging.WARNING if needs.granted != asked else logging.INFO,
            "the card of %s %s", arguments.binding, card,
        )  # fmt: skip
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

    The binding runs on the model thread. Return the exit status of the process.
    """
    outbox = Outbox()
    join_file: JoinFile | None = arguments.join
    models = (arguments.models_path / arguments.binding) if join_file else None
    card = read_card(arguments.bindings_path / arguments.binding)
    pump = Pump(binding, outbox.put, outbox.full, models)
    link = Link(
        pump,
        outbox,
        binding=arguments.binding,
        slots=lambda: max(1, binding.slots),
        resumable=binding.resumable,
        address=address,
        join_file=join_file,
        secret=lambda: join_file.secret if join_file else _read(secret),
        sandbox=sandbox,
        models=ModelsFolder(models, card).list if models else dict,
    )
    failures: list[int] = []

    def model_thread() -> None:
        """If it dies, the process must end: the gateway watches the process. Output so far is
        still sent, if the link does so within GRACE."""
        if status := _run(pump):
            failures.append(status)
            link.stop()
            time.sleep(GRACE)
            logging.shutdown()
            os._exit(status)

    thread = threading.Thread(target=model_thread, name="model", daemon=True)

    def finish() -> None:
        if not failures:
            pump.stop()
            thread.join(GRACE)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: link.stop())
    # A signal that arrives just before the link enters poll() does not interrupt it.
    signal.set_wakeup_fd(outbox.wakeup_fd(), warn_on_full_buffer=False)
    thread.start()
    link.serve(finish)
    return failures[0] if failures else 0


def _run(pump: Pump) -> int:
    """0 if it was asked to stop, otherwise the exit status for the process."""
    try:
        pump.run()
    except SystemExit as error:
        log.critical("the binding asked the process to exit with %r", error.code)
        status = error.code & 0xFF if isinstance(error.code, int) else 1
        # Whatever the binding wants, this is a failure, and supervisor must restart the worker.
        return 1 if status in (0, DO_NOT_RESTART) else status
    except BaseException as error:
        log.critical("the model thread died", exc_info=error)
        return 1
    return 0


def _read(secret: Path) -> str:
    """The secret of this binding with the running gateway; "" if there is none yet."""
    try:
        return secret.read_text().strip()
    except OSError:
        return ""


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    os._exit(status)  # the model thread may be in a native call that cannot be interrupted
