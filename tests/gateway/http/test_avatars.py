"""Which files can be had over HTTP? Real requests, sent as bytes, to a real server."""

import asyncio
import os
import urllib.parse
from pathlib import Path

from aiohttp import web

from gateway.http.avatars import MAX_BYTES, add_avatar_routes
from gateway.personalities.zoo import Zoo
from tests.support.zoos import add, digest


async def fetch(port: int, target: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """No client library: it would tidy the path up before it sends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    writer.write(request.encode("latin-1"))
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


def asked(zoo: Path, *targets: str, method: str = "GET") -> list[tuple[int, dict[str, str], bytes]]:
    async def scenario() -> list[tuple[int, dict[str, str], bytes]]:
        app = web.Application()
        add_avatar_routes(app, Zoo(zoo))
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            return [await fetch(port, target, method) for target in targets]
        finally:
            await runner.cleanup()

    return asyncio.run(asyncio.wait_for(scenario(), 30))


def test_every_entry_s_avatar_is_served_as_what_it_is(tmp_path: Path) -> None:
    kinds = {
        "gif": "image/gif", "webp": "image/webp", "png": "image/png", "jpg": "image/jpeg",
        "jpeg": "image/jpeg", "bmp": "image/bmp",
    }  # fmt: skip
    for suffix in kinds:
        add(tmp_path, f"english/a/100% {suffix}? #1 é", logo=f"logo.{suffix}")
    before = digest(tmp_path)
    entries = asyncio.run(Zoo(tmp_path).listing())["english"]["a"]
    answers = asked(tmp_path, *(entry["avatar"] for entry in entries))
    assert len(entries) == len(kinds)
    for entry, (status, headers, body) in zip(entries, answers, strict=True):
        assert status == 200 and body.startswith(b"\x89PNG")
        assert headers["content-type"] == kinds[entry["avatar"].rpartition(".")[2]]
        assert headers["x-content-type-options"] == "nosniff"
    assert digest(tmp_path) == before


def test_nothing_else_is_served(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    folder = add(zoo, "english/a/b", logo="logo.png")
    (folder / "assets" / "other.png").write_bytes(b"secret")
    (folder / "assets" / "logo.jpg").write_bytes(b"secret")
    (folder / "assets" / "logo.svg").write_bytes(b"secret")
    (folder / "scripts").mkdir()
    (folder / "scripts" / "processor.py").write_bytes(b"secret")
    (tmp_path / "outside.png").write_bytes(b"secret")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "logo.png").write_bytes(b"secret")
    linked = add(zoo, "english/a/linked")
    (linked / "assets").mkdir()
    (linked / "assets" / "logo.png").symlink_to(tmp_path / "outside.png")
    (add(zoo, "english/a/folderlinked") / "assets").symlink_to(tmp_path / "assets")
    (add(zoo, "english/a/fifo") / "assets").mkdir()
    os.mkfifo(zoo / "english/a/fifo/assets/logo.png")
    (add(zoo, "english/a/long", logo="logo.png") / "assets/logo.png").write_bytes(
        b"secret" + b"x" * MAX_BYTES
    )
    hidden = [
        "english/a/b/config.yaml", "english/a/b/assets/other.png", "english/a/b/assets/logo.jpg",
        "english/a/b/assets/logo.svg", "english/a/b/scripts/processor.py", "english/a/b/assets/",
        "english/a/b/assets", "english", "", "english/a/linked/assets/logo.png",
        "english/a/folderlinked/assets/logo.png", "english/a/fifo/assets/logo.png",
        "english/a/long/assets/logo.png", "../outside.png", "english/../../outside.png",
        "%2e%2e/outside.png", "%2e%2e%2foutside.png", "%252e%252e%252foutside.png",
        "..%5coutside.png", "....//outside.png", "/etc/passwd", "%2fetc%2fpasswd",
        str(tmp_path / "outside.png"), "english/a/b/assets/logo.png%00", "%ff%fe", "%",
        "english/a/b/./assets/logo.png%20", "english/a/b/assets/logo.png/.",
        "x" * 4000, urllib.parse.quote("é" * 500), "english//a/b/assets/logo.png",
    ]  # fmt: skip
    answers = asked(zoo, *(f"/personalities/{path}" for path in hidden))
    for path, (status, headers, body) in zip(hidden, answers, strict=True):
        assert status in (400, 404) and b"secret" not in body, path
        assert "text/plain" in headers["content-type"] and b"Traceback" not in body
        assert str(tmp_path).encode() not in body
    assert [s for s, _, _ in asked(zoo, "/personalities/english/a/b/assets/logo.png")] == [200]


def test_only_reading_is_allowed(tmp_path: Path) -> None:
    add(tmp_path, "a/b", logo="logo.png")
    for method, expected in (("HEAD", 200), ("POST", 405), ("PUT", 405), ("DELETE", 405)):
        ((status, _, _),) = asked(tmp_path, "/personalities/a/b/assets/logo.png", method=method)
        assert status == expected
