"""Start the gateway: `python -m gateway`."""

import asyncio
import logging
import os
import resource
import signal
import sys
from contextlib import suppress

from gateway.app import running
from gateway.config.loading import load_settings
from gateway.config.settings import Settings
from gateway.errors import BadSetting, StartError, StateNotSaved
from gateway.observability.background_log import BackgroundHandler
from protocol.logs import set_up_logging
from protocol.parent_death import die_with_supervisor

log = logging.getLogger(__name__)

FEW_FILES = 4096
"""Open files, of which each client needs one."""
MACOS_FILES = 10_240
"""The most that macOS allows where the hard limit says that there is none."""


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def stop_on(name: str) -> None:
        if stop.is_set():
            log.warning("%s again: ending at once", name)
            logging.shutdown()
            os._exit(1)
        log.info("%s: stopping", name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_on, number.name)
    async with running(settings) as core:
        await stop.wait()
        await core.sessions.drain(settings.drain_limit)


def main() -> int:
    try:
        settings = load_settings(sys.argv[1:], os.environ)
    except BadSetting as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2
    die_with_supervisor()
    os.umask(0o077)  # no other user may read the files written here
    set_up_logging(settings.log_level, settings.log_format, BackgroundHandler())
    raise_open_files_limit()
    try:
        asyncio.run(serve(settings))
    except BadSetting as error:
        return _failed(error, 2)
    except StartError as error:
        return _failed(error, 1)
    except StateNotSaved as error:
        return _failed(f"the home {settings.home} cannot be written: {error}", 1)
    except OSError as error:
        place = error.filename or settings.home  # the error of a write does not name its file
        return _failed(f"{error.strerror}: {place}" if error.strerror else f"{error}", 1)
    return 0


def raise_open_files_limit() -> None:
    """To the hard limit: the soft one is often 1,024, and each connection takes a descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, MACOS_FILES):
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
            break
    if soft != resource.RLIM_INFINITY and soft < FEW_FILES:
        log.info("only %d files and connections can be open at once: see ulimit -n", soft)


def _failed(why: Exception | str, status: int) -> int:
    """Say why as the last line of the log, where the launcher looks for it."""
    logging.shutdown()
    print(f"gateway: {why}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
