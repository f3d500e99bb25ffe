"""How is the gateway started? `python -m gateway`"""

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress

from gateway.app import running
from gateway.config.settings import Settings, load_settings
from gateway.core import Server
from gateway.errors import BadSetting, CannotStart
from protocol.logs import set_up_logging
from protocol.parent_death import die_with_supervisor

log = logging.getLogger(__name__)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends it at once."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def ask(name: str) -> None:
        if asked.is_set():
            log.warning("%s again: ending at once", name)
            os._exit(1)
        log.info("%s: stopping", name)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, number.name)
    async with running(settings) as server:
        await asked.wait()
        await _drain(server)


async def _drain(server: Server) -> None:
    """No new work; what runs may finish, up to a limit, and is ended with an event then."""
    server.draining = True
    limit = server.settings.drain_limit
    everybody = [*server.sessions.values(), *server.returning.away]
    running = [s.running.ended for s in everybody if s.running]
    if running:
        log.info("waiting up to %g s for %d generation(s)", limit, len(running))
        await asyncio.wait(running, timeout=limit)
    for session in server.sessions.values():
        if session.running:
            session.running.interrupt("the server is stopping")
    with suppress(TimeoutError):  # somebody does not read
        async with asyncio.timeout(1.0):
            await server.desk.drained()


def main() -> int:
    try:
        settings = load_settings(sys.argv[1:], os.environ)
    except BadSetting as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2
    die_with_supervisor()
    os.umask(0o077)  # what is written here is nobody else's to read
    set_up_logging(settings.log_level, settings.log_format)
    try:
        asyncio.run(serve(settings))
    except BadSetting as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2
    except (CannotStart, PermissionError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
