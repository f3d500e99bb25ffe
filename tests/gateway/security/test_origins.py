"""Which web pages may talk to this server?"""

import socket

import pytest

from gateway.security.origins import Hosts, Origins

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


@pytest.mark.parametrize(
    "host",
    [
        None, "", "localhost:9601", "LocalHost", "127.0.0.1:9601", "[::1]:9601", "192.168.1.7:9601",
        "[fe80::1]", "myserver:9601", "good.example", socket.gethostname(),
    ],
)  # fmt: skip
def test_names_that_are_ours_and_addresses_may_stand_in_host(host: str | None) -> None:
    assert Hosts("myserver", ("https://good.example:8443",))(host)


@pytest.mark.parametrize(
    "host",
    ["evil.example:9601", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "a@b", "1"],
)
def test_a_name_that_somebody_else_may_point_here_may_not(host: str) -> None:
    assert not Hosts("127.0.0.1", ("https://good.example",))(host)
    assert Hosts("127.0.0.1", ("*",))(host)


def test_without_a_host_header_only_localhost_may() -> None:
    assert not Origins(())("http://myserver:9601", {})
    assert Origins(())("http://localhost", {})
