"""HTTP, websocket and chat work through TLS; a bad certificate is reported."""

import json
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.harness import ROOT, Home, chunks, client, home, run, until

ECHO = {"bindings_path": str(ROOT / "bindings"), "binding_name": "echo", "model_name": "lorem"}
TOKEN = "0123456789abcdef"

if not shutil.which("openssl"):
    pytest.skip("openssl makes the certificates", allow_module_level=True)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for another host name, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "30", "-subj", "/CN=elsewhere.example",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, pair: tuple[Path, Path]) -> Iterator[Home]:
    """A complete server, started as `make run` does: its health checks use TLS, too."""
    certificate, key = map(str, pair)
    with home(
        tmp_path_factory.mktemp("home"), **ECHO, ssl_certfile=certificate, ssl_keyfile=key,
        api_key=TOKEN,
    ) as opened:  # fmt: skip
        opened.url = opened.url.replace("http:", "https:")
        opened.headers = {"Authorization": f"Bearer {TOKEN}"}
        opened.trust = ssl.create_default_context(cafile=certificate)
        opened.trust.check_hostname = False
        opened.launch()
        yield opened


def test_the_launcher_says_where_it_is_and_what_the_chat_needs(server: Home) -> None:
    until(lambda: "Ctrl-C stops everything" in server.log("launch"), "the welcome")
    said = server.log("launch")
    assert f"the server is up at {server.url}\n" in said
    assert "LOLLMS_SSL_CERTFILE=" in said and "LOLLMS_API_KEY=… make chat" in said
    assert TOKEN not in said


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
def test_a_stream_is_whole_through_tls(server: Home, transports: list[str]) -> None:
    async def scenario() -> None:
        connector = aiohttp.TCPConnector(ssl=server.trust)
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            client(server, transports=transports, auth={"token": TOKEN}, http=http) as one,
        ):
            prompt = "x" * 900_000  # longer than any buffer
            events = await one.generate(prompt, n_predicts=2000)
            assert events[-1][0] == "text_generated", events[-1]
            assert chunks(events) == events[-1][1]["text"] and events[-1][1]["tokens"] == 2000

    run(scenario())


def test_without_tls_nothing_is_answered(server: Home) -> None:
    with home(server.folder / "other") as plain:
        plain.url = server.url.replace("https:", "http:")
        assert plain.http("/health")[0] in (0, 400)


def chat(server: Home, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in server.environment.items() if not k.startswith("LOLLMS_")}
    return subprocess.run(
        [sys.executable, "-m", "chat", "--url", server.url, "--personality", ""], cwd=ROOT,
        env={**clean, **environment}, input="hi\n", capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip


def test_the_chat_speaks_tls_and_sends_its_token(server: Home, pair: tuple[Path, Path]) -> None:
    trusting = {"LOLLMS_SSL_CERTFILE": str(pair[0])}
    done = chat(server, **trusting, LOLLMS_API_KEY=TOKEN)
    assert (done.returncode, done.stderr) == (0, "") and "dolor" in done.stdout
    for environment, said in (
        ({"LOLLMS_API_KEY": TOKEN}, "certificate"),
        (trusting, "needs a token"),
        ({**trusting, "LOLLMS_API_KEY": "wrong"}, "does not know that token"),
        ({"LOLLMS_SSL_CERTFILE": "/nowhere"}, "/nowhere"),
        ({"LOLLMS_SSL_CERTFILE": "/dev/null"}, "no certificate"),
    ):
        done = chat(server, **environment)
        assert done.returncode == 1 and done.stdout == ""
        assert said in done.stderr and done.stderr.count("\n") == 1


def test_another_certificate_is_not_trusted_though_it_is_in_the_same_file(
    server: Home, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """Only the first certificate of the file is trusted: an issuer may have signed others."""
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "30", "-subj", "/CN=other", "-keyout", "/dev/null"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (tmp_path / "first").write_text(pair[0].read_text() + made.stdout)
    (tmp_path / "second").write_text(made.stdout + pair[0].read_text())
    for name, status in (("first", 0), ("second", 1)):
        trusted = str(tmp_path / name)
        assert chat(server, LOLLMS_SSL_CERTFILE=trusted, LOLLMS_API_KEY=TOKEN).returncode == status


def test_what_is_no_certificate_is_one_sentence(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    certificate, key = map(str, pair)
    (tmp_path / "text").write_text("no certificate")
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", key, "-out", locked, "-passout", "pass:secret"],
        check=True, capture_output=True,
    )  # fmt: skip
    for flags, said in (
        (["--ssl_keyfile", key], "needs --ssl_certfile"),
        (["--ssl_certfile", certificate], "no certificate and its key"),
        (["--ssl_certfile", certificate, "--ssl_keyfile", certificate], "no certificate and"),
        (["--ssl_certfile", str(tmp_path / "text"), "--ssl_keyfile", key], "no certificate and"),
        (["--ssl_certfile", str(tmp_path / "none"), "--ssl_keyfile", key], "cannot be read"),
        (["--ssl_certfile", str(tmp_path), "--ssl_keyfile", key], "cannot be read"),
        (["--ssl_certfile", certificate, "--ssl_keyfile", str(locked)], "has a password"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "--home", str(tmp_path / "home"), *flags],
            cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
            check=False,
        )  # fmt: skip
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert said in done.stderr and "Traceback" not in done.stderr


def test_nothing_in_the_home_is_for_others_to_read(server: Home) -> None:
    for path in [server.folder / "logs" / "gateway.log", *server.folder.glob("state*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_health_is_answered_through_tls(server: Home) -> None:
    assert json.loads(server.http("/health")[1]) == {"status": "ok"}
    assert server.http("/ready")[0] == 200


def test_who_does_not_shake_hands_is_closed(server: Home) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as silent:
        assert silent.recv(1) == b""
