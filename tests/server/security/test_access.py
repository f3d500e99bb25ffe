"""Tokens, origins and limits: which clients are admitted, and what the others are told."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from gateway.config.loading import load_settings
from gateway.errors import BadSetting
from gateway.security.access import bearer, client_address, is_local, load_tokens
from gateway.security.tokens_file import TokenHolder
from tests.support.harness import ROOT, Home, client, home, run

ALICE, BOB = "alice-0123456789abcdef", "bob-0123456789abcdef"
ECHO = {"bindings_path": str(ROOT / "bindings"), "binding_name": "echo", "model_name": "echo"}


def tokens(folder: Path, text: str, mode: int = 0o600) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tokens"
    path.write_bytes(text.encode(errors="surrogateescape"))
    path.chmod(mode)
    return path


# Storage of tokens.


def opened(folder: Path, *flags: str) -> Any:
    return load_tokens(load_settings(["--home", str(folder), *flags], {}))


def refusal(folder: Path, *flags: str) -> str:
    with pytest.raises(BadSetting) as caught:
        opened(folder, *flags)
    assert "\n" not in str(caught.value) and BOB not in str(caught.value)
    return str(caught.value)


def test_each_token_has_its_holder_and_its_limits(tmp_path: Path) -> None:
    tokens(tmp_path, f"alice {ALICE}  # hers\n\nbob {BOB} running=1 waiting=0\n")
    access = opened(tmp_path, "--token_running", "3", "--api_key", "carol-0123456789abcdef")
    assert access.guarded and access.own_token
    assert access.holder(ALICE) == TokenHolder("alice", 3, 4)
    assert access.holder(BOB) == TokenHolder("bob", 1, 0)
    assert access.holder("carol-0123456789abcdef") == TokenHolder("api_key", 3, 4, operator=True)
    for wrong in ("", ALICE[:-1], ALICE + "x", ALICE.upper(), "\ud800", "x" * 100_000):
        assert access.holder(wrong) is None


def test_operators_are_named_in_the_file(tmp_path: Path) -> None:
    tokens(tmp_path, f"alice {ALICE} operator running=1\nbob {BOB} # operator\n")
    access = opened(tmp_path)
    assert access.holder(ALICE) == TokenHolder("alice", 1, 4, operator=True)
    assert access.holder(BOB) == TokenHolder("bob", 0, 4)
    assert [access.holder(each).has_own_defaults for each in (ALICE, BOB)] == [False, True]


def test_without_tokens_everybody_is_the_same_holder(tmp_path: Path) -> None:
    access = opened(tmp_path)
    assert not access.guarded and access.own_token == ""
    assert access.holder("") == access.holder("whatever") == TokenHolder("", 0, 4)
    assert not access.holder("").has_own_defaults


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o660])
def test_a_tokens_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tokens(tmp_path, f"bob {BOB}\n", mode)
    assert f"chmod 600 {path}" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no token"),
        (f"# bob {BOB}\n\n", "has no token"),
        (f"{BOB}\n", "line 1: a name and a token"),
        (f"\nbob {BOB} {BOB}\n", "line 2: after the token"),
        (
            f"bob {BOB} operator=1\n",
            "line 1: after the token only running=N, waiting=N and operator",
        ),
        (f"bob {BOB}é\n", "line 1: a token may have"),
        (f"bob {'b' * 1001}\n", "line 1: a token is expected"),
        (f"bob {BOB} running=-1\n", "a whole number"),
        (f"bob {BOB} running=\n", "a whole number"),
        (f"bob {BOB} speed=1\n", "after the token"),
        (f"../bob {BOB}\n", "the name must be"),
        (f"b\x1bob {BOB}\n", "the name must be"),
        (f"bob {BOB}\nalice {BOB}\n", "twice"),
        (f"bob {BOB}\nbob {ALICE}\n", "twice"),
        (f"bob {BOB}\udcff\n", "not text"),
        ("x" * 2_000_000, "cannot be read"),
    ],
)
def test_a_tokens_file_that_means_nothing_is_refused(tmp_path: Path, text: str, said: str) -> None:
    tokens(tmp_path, text)
    assert said in refusal(tmp_path)


def test_a_tokens_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path, "--tokens_file", str(tmp_path / "none"))
    (tmp_path / "folder").mkdir(mode=0o700)
    assert "cannot be read" in refusal(tmp_path, "--tokens_file", str(tmp_path / "folder"))


def test_a_config_file_with_a_key_must_be_private_and_a_bad_key_is_not_repeated(
    tmp_path: Path,
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"api_key: {BOB}\n")
    config.chmod(0o644)
    with pytest.raises(BadSetting, match="chmod 600"):
        opened(tmp_path)
    config.chmod(0o600)
    assert opened(tmp_path).holder(BOB)
    with pytest.raises(BadSetting) as caught:
        load_settings(["--api_key", f"{BOB} {BOB}"], {})
    assert BOB not in str(caught.value)
    assert BOB not in repr(load_settings(["--api_key", BOB], {}))


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", ""), ("abc", ""),
        ("", ""), ("Bearer", ""), ("Bearer a b", "a b"),
    ],
)  # fmt: skip
def test_the_bearer_header(header: str, value: str) -> None:
    assert bearer({"Authorization": header}) == value
    assert bearer({}) == ""


# Listening addresses.


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
        ("0.0.0.0", False), ("::", False), ("192.168.0.7", False), ("0", False),
        ("no.such.host.invalid", True),  # does not resolve; the bind fails with the reason
    ],
)  # fmt: skip
def test_which_addresses_are_of_this_machine(host: str, ours: bool) -> None:
    assert is_local(host) is ours


def started(server: Home, module: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module], cwd=ROOT, env={**server.environment, **environment},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("module", ["gateway", "gateway.launch"])
def test_beyond_this_machine_it_does_not_start_without_a_token(tmp_path: Path, module: str) -> None:
    with home(tmp_path, **ECHO, host="0.0.0.0") as server:
        done = started(server, module)
        assert done.returncode in (1, 2) and done.stdout == ""
        assert done.stderr.count("\n") == 1 and "--insecure" in done.stderr
        assert "LOLLMS_API_KEY" in done.stderr and "0.0.0.0" in done.stderr


def test_insecure_lets_it_and_the_log_says_so(tmp_path: Path) -> None:
    with home(tmp_path, **ECHO, host="0.0.0.0") as server:
        server.gateway("--insecure")
        assert "whoever reaches this machine may use this server" in server.log("gateway")


def test_by_default_it_listens_on_this_machine_only(tmp_path: Path) -> None:
    with home(tmp_path, **ECHO) as server:
        server.gateway()
        listening = [line for line in sockets() if line[1] == server.port]
        assert listening == [("0100007F", server.port)]


def sockets() -> list[tuple[str, int]]:
    """Address, in hexadecimal as in /proc/net, and port of all listening TCP sockets."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(table):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":
                    address, _, port = fields[1].partition(":")
                    found.append((address, int(port, 16)))
    return found or pytest.skip("there is no /proc/net")  # type: ignore[return-value]


# Connections of clients.


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("guarded")
    tokens(folder, f"alice {ALICE}\nbob {BOB} running=1 waiting=1\n")
    with home(folder, **{**ECHO, "model_name": "lorem-10ms"}) as server:
        server.headers = {"Authorization": f"Bearer {ALICE}"}
        server.gateway()
        for _ in range(2):
            server.worker("echo")
        server.ready()
        yield server


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize(
    "options",
    [
        {"auth": {"token": ALICE}},
        {"auth": {"token": ALICE, "more": [1]}, "headers": {"Authorization": "Bearer wrong"}},
        {"headers": {"Authorization": f"Bearer {ALICE}"}},
        {"auth": {"token": None}, "headers": {"authorization": f"bearer {ALICE}"}},
    ],
)
def test_a_known_token_gets_in(guarded: Home, transport: str, options: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with client(guarded, transports=[transport], **options) as alice:
            answer = await alice.ask("list_available_bindings", reply="bindings_list")
            assert answer["success"] is True

    run(scenario())


async def refused(server: Home, **options: Any) -> list[Any]:
    """Expect the connect to fail; return the payloads of its connect_error."""
    async with aiohttp.ClientSession() as http:  # a failed client would leave its own open
        sio = socketio.AsyncClient(reconnection=False, http_session=http)
        errors: list[Any] = []
        sio.on("connect_error", errors.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await sio.connect(server.url, **options)
        await sio.disconnect()
    return errors


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs a token"),
        ({"auth": {}}, "needs a token"),
        ({"auth": {"token": ""}}, "needs a token"),
        ({"auth": {"token": [ALICE]}}, "needs a token"),
        ({"auth": [ALICE]}, "needs a token"),
        ({"auth": ALICE}, "needs a token"),
        ({"auth": {"token": "wrong"}}, "does not know that token"),
        ({"auth": {"token": ALICE + "\0"}}, "does not know that token"),
        ({"auth": {"token": "x" * 900_000}}, "does not know that token"),
        ({"headers": {"Authorization": f"Basic {ALICE}"}}, "needs a token"),
        ({"headers": {"Authorization": "Bearer wrong"}}, "does not know that token"),
    ],
)
def test_who_has_none_hears_why_and_has_no_session(
    guarded: Home, transport: str, options: dict[str, Any], said: str
) -> None:
    async def scenario() -> None:
        [error] = await refused(guarded, transports=[transport], **options)
        assert said in error["message"] and "wrong" not in error["message"]

    run(scenario())


def test_what_is_open_and_what_is_not_over_http(guarded: Home) -> None:
    known = guarded.headers
    try:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": ALICE}):
            guarded.headers = headers
            assert guarded.http("/health") == (200, '{"status": "ok"}')
            for path in ("/ready", "/metrics", "/status", "/", "/nothing"):
                status, body = guarded.http(path)
                assert status == 401 and "token" in body and ALICE not in body
            assert guarded.http("/personalities/english/fun/none/assets/logo.png")[0] == 404
    finally:
        guarded.headers = known
    assert guarded.http("/ready")[0] == guarded.http("/metrics")[0] == 200


def test_a_token_has_its_share_and_takes_nothing_from_another(guarded: Home) -> None:
    """bob may have one generation running and one waiting; alice has no limit."""

    async def scenario() -> None:
        bobs = [client(guarded, auth={"token": BOB}) for _ in range(3)]
        async with bobs[0] as one, bobs[1] as two, bobs[2] as three:
            long = {"prompt": "x", "n_predicts": 500}
            await one.emit("generate_text", long)
            await one.next("text_chunk")
            await two.emit("generate_text", long)
            await two.settle()
            assert await three.generate("x") == [
                ("buzzy", {**(await three.generate("x"))[0][1], "id": three.events[0][1]["id"]})
            ]
            async with client(guarded, auth={"token": ALICE}) as alice:
                assert (await alice.generate("x", n_predicts=5))[-1][0] == "text_generated"
            assert not [name for name, _ in two.events if name == "text_chunk"]
            tokens = json.loads(guarded.http("/status")[1])["tokens"]
            assert tokens["bob"] == {"running": 1, "waiting": 1}
            holders = json.loads(guarded.http("/status")[1])["holders"]
            assert holders == {"bob": {"running": 1, "waiting": 0, "parked": 0}}
            assert 'lollms_holder_running{holder="bob"} 1.0' in guarded.http("/metrics")[1]
            await one.emit("cancel_generation")
            await two.next("text_chunk")  # the next one has begun
            await three.emit("generate_text", long)
            await three.settle()
            await three.emit("cancel_generation")  # a waiting one leaves the queue
            await three.next("generation_canceled")
            await two.emit("cancel_generation")
            await two.next("generation_canceled")
            assert (await three.generate("x", n_predicts=5))[-1][0] == "text_generated"

    run(scenario())


def test_the_tokens_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    async def gets_in(server: Home, token: str) -> bool:
        async with aiohttp.ClientSession() as http:
            headers = {"Authorization": f"Bearer {token}"}
            async with http.get(f"{server.url}/metrics", headers=headers) as answer:
                return answer.status == 200

    with home(tmp_path, **ECHO) as server:
        server.gateway()
        assert run(gets_in(server, "whatever"))
        tokens(tmp_path, f"alice {ALICE}\n")
        assert run(gets_in(server, ALICE)) and not run(gets_in(server, BOB))
        tokens(tmp_path, f"bob {BOB}\n")
        assert run(gets_in(server, BOB)) and not run(gets_in(server, ALICE))
        for broken, mode in (("", 0o600), (f"bob {BOB} fast\n", 0o600), (f"eve {ALICE}\n", 0o644)):
            tokens(tmp_path, broken, mode)
            assert run(gets_in(server, BOB)) and not run(gets_in(server, ALICE))
        assert "the tokens stay as they were" in server.log("gateway")
        (tmp_path / "tokens").unlink()
        assert run(gets_in(server, "whatever"))


def test_no_token_is_in_any_log(guarded: Home) -> None:
    logs = "".join(path.read_text() for path in (guarded.folder / "logs").iterdir())
    assert "connected as alice" in logs and "refused a client" in logs
    for token in (ALICE, BOB, "wrong"):
        assert token not in logs


# Names of hosts, and origins of web pages.


def test_a_name_that_is_pointed_here_by_somebody_else_gets_nothing(tmp_path: Path) -> None:
    with home(tmp_path, **ECHO) as server:
        server.gateway()
        for name in ("rebinding.example", f"rebinding.example:{server.port}", "a\x7fb"):
            server.headers = {"Host": name}
            for path in ("/metrics", "/ready", "/socket.io/?EIO=4&transport=polling"):
                status, body = server.http(path.partition("?")[0])
                assert status in (400, 403), body
        server.headers = {"Host": f"localhost:{server.port}"}
        assert server.http("/metrics")[0] == 200


def test_a_page_from_elsewhere_cannot_connect_whatever_its_host_says(tmp_path: Path) -> None:
    async def scenario(server: Home) -> None:
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": f"http://evil.example:{server.port}", "Host": f"evil.example:{server.port}"},
        ):
            for transport in ("websocket", "polling"):
                await refused(server, transports=[transport], headers=headers)
        async with client(server, headers={"Origin": "http://localhost:3000"}):
            pass

    with home(tmp_path, **ECHO) as server:
        server.gateway()
        run(scenario(server))
    with home(tmp_path / "open", **ECHO, cors_origins="*") as server:
        server.gateway()

        async def all_may() -> None:
            async with client(server, headers={"Origin": "https://evil.example"}):
                pass

        run(all_may())


def test_answers_are_not_wrapped_for_script_tags(tmp_path: Path) -> None:
    import urllib.request

    with home(tmp_path, **ECHO) as server:
        server.gateway()
        url = f"{server.url}/socket.io/?EIO=4&transport=polling"
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url + "&j=0", timeout=5)
        assert caught.value.code == 400
        caught.value.close()


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),  # of a socket that listens for both
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        (None, ""),
        ("@", ""),
    ],
)
def test_a_machine_is_one_address_however_many_it_has(remote: str | None, address: str) -> None:
    assert client_address(remote) == address
