"""Which web pages may talk to this server?"""

import pytest

from gateway.origins import Origins

HOST = {"HTTP_HOST": "myserver:9601"}


@pytest.mark.parametrize(
    "origin",
    [
        None,  # a native client
        "",
        "http://localhost:3000",
        "https://localhost",
        "http://127.0.0.1:9600",
        "http://[::1]:5173",
        "http://myserver:9601",
        "HTTP://MyServer:9601",
    ],
)
def test_this_machine_and_this_host_may(origin: str | None) -> None:
    assert Origins(())(origin, HOST)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://localhost@evil.example",
        "http://evil.example/localhost",
        "http://evil.example#localhost",
        "http://myserver",  # another port is another server
        "http://myserver:9602",
        "null",  # a file, or a sandboxed frame
        "file://localhost",
        "http://[::1",
        "localhost",
    ],
)
def test_others_may_not(origin: str) -> None:
    assert not Origins(())(origin, HOST)
    assert not Origins(("https://good.example",))(origin, HOST)


def test_who_is_listed_may() -> None:
    allowed = Origins(("https://Good.example/",))
    assert allowed("https://good.example", HOST)
    assert not allowed("http://good.example", HOST)
    assert not allowed("https://sub.good.example", HOST)


def test_a_star_lists_them_all() -> None:
    assert Origins(("*",))("https://evil.example", HOST)


def test_without_a_host_header_only_localhost_may() -> None:
    assert not Origins(())("http://myserver:9601", {})
    assert Origins(())("http://localhost", {})
