"""Each frontend is closed when the server stops, however it stops, while it still listens."""

import logging
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from gateway.config.loading import load_settings
from gateway.http.server import http_server
from gateway.observability.metrics import Metrics
from gateway.personalities.zoo import Zoo
from gateway.security.access import AccessControl
from tests.support.harness import free_port, run


class Fake:
    """A frontend that notes that it was closed."""

    def __init__(self, name: str, closed: list[str], error: Exception | None = None) -> None:
        self._name, self._closed, self._error = name, closed, error

    def attach(self, app: web.Application) -> None: ...

    async def close(self) -> None:
        self._closed.append(self._name)
        if self._error:
            raise self._error


def refused(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
    except urllib.error.URLError:
        return True
    return False


@pytest.mark.parametrize("block", [None, KeyError("the block")])
def test_all_frontends_close_in_reverse_order_though_one_fails(
    tmp_path: Path, block: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    settings = load_settings(["--home", str(tmp_path), "--port", str(port)], {})
    core: Any = SimpleNamespace(settings=settings, zoo=Zoo(tmp_path), metrics=Metrics())
    closed: list[str] = []
    frontends = [Fake("one", closed), Fake("two", closed, OSError("no")), Fake("three", closed)]

    async def scenario() -> None:
        async with http_server(core, AccessControl(settings), None, frontends):
            if block:
                raise block

    with caplog.at_level(logging.ERROR):
        if block:
            with pytest.raises(KeyError, match="the block"):
                run(scenario())
        else:
            run(scenario())
    assert closed == ["three", "two", "one"]
    assert "a frontend could not be closed" in caplog.text
    assert refused(port)
