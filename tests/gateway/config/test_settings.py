"""Flags, environment, config file, defaults: who wins, and what is said of a bad value?"""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config.command_line import markdown_table
from gateway.config.loading import load_settings
from gateway.config.settings import Settings, table
from gateway.errors import BadSetting
from protocol.run_folder import CHECKOUT


def load(tmp_path: Path, *argv: str, config: str | None = None, **environ: str) -> Settings:
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    return load_settings(["--home", str(tmp_path), *argv], environ)


def error(tmp_path: Path, *argv: str, config: str | None = None, **environ: str) -> str:
    with pytest.raises(BadSetting) as caught:
        load(tmp_path, *argv, config=config, **environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_defaults_are_of_the_checkout_and_of_this_machine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings([], {})
    assert settings.home == CHECKOUT / "var"
    assert (settings.host, settings.port) == ("127.0.0.1", 9601)
    assert settings.bindings_path == CHECKOUT / "bindings"
    assert settings.models_path == CHECKOUT / "var" / "models"
    assert settings.binding_name == "llama_cpp" and settings.model_name == "pebble-f16.gguf"
    assert settings.n_predict == 1024 and settings.max_queue == 16
    assert settings.given == frozenset() and settings.processes("echo") == 0
    assert (settings.max_waiting, settings.max_models, settings.rejoin_limit) == (1000, 3, 15.0)
    assert (settings.park_after, settings.slice) == (1.0, 10.0)


def test_flags_win_over_environment_over_config_over_defaults(tmp_path: Path) -> None:
    config = "port: 1\nn_predict: 2\nmax_queue: 3\n"
    settings = load(
        tmp_path, "--port", "100", config=config, LOLLMS_PORT="10", LOLLMS_N_PREDICT="20"
    )
    assert (settings.port, settings.n_predict, settings.max_queue) == (100, 20, 3)
    assert settings.ctx_size == 0
    assert settings.given == {"home", "port", "n_predict", "max_queue"}


@pytest.mark.parametrize("flag", ["--cors-origins", "--cors_origins"])
def test_dashes_and_underscores_are_the_same(tmp_path: Path, flag: str) -> None:
    settings = load(tmp_path, flag, "http://a.example, https://B.example:81")
    assert settings.cors_origins == ("http://a.example", "https://b.example:81")


def test_a_yes_or_no_flag_may_stand_alone(tmp_path: Path) -> None:
    assert not load(tmp_path).no_continue
    for flags in (["--no-continue"], ["--no_continue", "--port", "1"], ["--no-continue", "yes"]):
        assert load(tmp_path, *flags).no_continue
    assert not load(tmp_path, "--no-continue=no").no_continue


def test_every_setting_can_be_given_in_each_place(tmp_path: Path) -> None:
    for setting in table():
        value = {
            "port": "1", "n_predict": "7", "ctx_size": "7", "max_queue": "7", "keep_alive": "1.5",
            "stall_limit": "2", "drain_limit": "3", "cors_origins": "*", "log_level": "debug",
            "config": str(tmp_path / "empty.yaml"), "client_limit": "2.5", "direct_writes": "no",
            "insecure": "yes", "log_format": "json", "workers_tcp": "127.0.0.1:1",
            "token_running": "7", "token_queue": "7", "sandbox": "no",
            "no_continue": "yes", "poison_time": "7",
            "max_frame": "12345", "max_prompt": "7", "event_rate": "7",
            "load_limit": "7", "resume_window": "7", "ping_interval": "8", "ping_timeout": "6",
            "keep_discussions": "no", "max_waiting": "7", "max_models": "2", "park_after": "no",
            "slice": "7", "rejoin_limit": "7",
        }.get(setting.name, "thing")  # fmt: skip
        (tmp_path / "empty.yaml").touch()
        (tmp_path / "config.yaml").write_text(f"{setting.name}: {value!r}")
        (tmp_path / "config.yaml").chmod(0o600)
        by_flag = load_settings([f"--{setting.name}={value}"], {})
        by_environment = load_settings([], {f"LOLLMS_{setting.name.upper()}": value})
        assert getattr(by_flag, setting.name) == getattr(by_environment, setting.name)
        assert by_flag.given == by_environment.given == {setting.name}
        if setting.name not in ("home", "config"):
            by_config = load(tmp_path)
            assert by_config.given == {"home", setting.name}
            if not isinstance(getattr(by_config, setting.name), Path):
                assert getattr(by_config, setting.name) == getattr(by_flag, setting.name)


def test_relative_paths_are_of_the_shell_or_of_the_config_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.yaml").write_text("models_path: models here\n")
    monkeypatch.chdir(tmp_path / "here")
    settings = load_settings(["--home", "../home", "--bindings_path", "b"], {})
    assert settings.models_path == tmp_path / "home" / "models here" or (
        settings.models_path.resolve() == tmp_path / "home" / "models here"
    )
    assert settings.bindings_path == tmp_path / "here" / "b"
    assert settings.home.is_absolute()


def test_an_empty_variable_is_unset_but_an_empty_name_selects_nothing(tmp_path: Path) -> None:
    settings = load(tmp_path, LOLLMS_PORT="", LOLLMS_BINDING_NAME="")
    assert settings.port == 9601 and settings.binding_name == ""
    assert settings.given == {"home", "binding_name"}


@pytest.mark.parametrize(
    ("argv", "environ", "config", "said"),
    [
        (["--port", "abc"], {}, "", ["--port", "65535", "'abc'"]),
        (["--port", "65536"], {}, "", ["--port"]),
        (["--port", "9" * 5000], {}, "", ["--port"]),
        ([], {"LOLLMS_PORT": "-1"}, "", ["LOLLMS_PORT", "'-1'"]),
        ([], {}, "port: yes", ["port in ", "config.yaml", "true"]),
        ([], {}, "port: 1.5", ["port in "]),
        ([], {}, "host: [a]", ["host in ", "a list of 1"]),
        ([], {"LOLLMS_KEEP_ALIVE": "nan"}, "", ["LOLLMS_KEEP_ALIVE"]),
        ([], {"LOLLMS_STALL_LIMIT": "-1"}, "", ["LOLLMS_STALL_LIMIT"]),
        (["--log_level", "loud"], {}, "", ["--log_level", "DEBUG", "'loud'"]),
        (["--cors_origins", "example.org"], {}, "", ["--cors_origins", "https://"]),
        (["--cors_origins", "http://a/b"], {}, "", ["--cors_origins"]),
        ([], {}, "cors_origins: {a: b}", ["cors_origins in "]),
        (["--n_predict", "0"], {}, "", ["--n_predict"]),
        (["--nonsense", "1"], {}, "", ["--nonsense"]),
        (["--port"], {}, "", ["--port"]),
        (["--home", "a\0b"], {}, "", ["--home"]),
        ([], {}, "- a\n- b", ["config.yaml", "a list of 2"]),
        ([], {}, "port: [1", ["config.yaml", "line 2"]),
        ([], {}, "a: &x [1]\nb: *x", ["config.yaml", "aliases"]),
        (["--config", "nowhere.yaml"], {}, "", ["nowhere.yaml", "does not exist"]),
        ([], {}, "bindings: [1]", ["bindings in "]),
        ([], {}, "bindings: {../x: {}}", ["bindings in ", "../x"]),
        ([], {}, "bindings: {echo: 7}", ["bindings.echo in "]),
        ([], {}, "bindings: {echo: {n: [1]}}", ["bindings.echo in ", "n must be one value"]),
        ([], {}, "bindings: {echo: {processes: 0}}", ["bindings.echo in ", "processes"]),
        ([], {}, "bindings: {echo: {processes: true}}", ["bindings.echo in ", "processes"]),
        ([], {}, "bindings: {'': {}}", ["bindings in ", "cannot be the name"]),
        ([], {}, "bindings: {echo: {processes: some}}", ["1 to 64, or auto, is expected, not"]),
        ([], {}, "bindings: {echo: {replicas: 65}}", ["replicas: a whole", "or auto", "65"]),
        ([], {}, "bindings: {echo: {keep_alive: soon}}", ["bindings.echo in ", "keep_alive"]),
        ([], {}, "bindings: {echo: {models: [a]}}", ["models of bindings.echo in ", "a list"]),
        ([], {}, "bindings: {echo: {models: {'': }}}", ["cannot be the name of a model"]),
        ([], {}, "bindings: {echo: {models: {a: 7}}}", ["bindings.echo in ", "a: settings are"]),
        (
            [],
            {},
            "bindings: {echo: {models: {a: {n_ctx: 7}}}}",
            ["config.yaml: a: a model has keep_alive and replicas here, not 'n_ctx'"],
        ),
        ([], {}, "bindings: {echo: {models: {a: {replicas: 0}}}}", ["a: replicas: a whole"]),
        ([], {}, "bindings: {echo: {models: {a: {keep_alive: -1}}}}", ["a: keep_alive: a number"]),
        (["--slice", "long"], {}, "", ["--slice: a number of seconds, or no, is expected, not"]),
        (["--max_models", "0"], {}, "", ["--max_models"]),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_its_source(
    tmp_path: Path, argv: list[str], environ: dict[str, str], config: str, said: list[str]
) -> None:
    sentence = error(tmp_path, *argv, config=config, **environ)
    for part in said:
        assert part in sentence


def test_a_binding_s_part_is_passed_on_without_the_gateway_s_own_keys(tmp_path: Path) -> None:
    config = """
        bindings:
          llama_cpp: {n_threads: 1, f16: true, x: null, processes: '2', replicas: auto,
            keep_alive: 7, memory_limit: 16, allow: all, models: {a: {keep_alive: 8}, b: }}
          echo:
    """
    settings = load(tmp_path, config=config)
    assert list(settings.bindings) == ["llama_cpp", "echo"]
    assert settings.binding_options("llama_cpp") == {"n_threads": 1, "f16": True}
    assert settings.binding_options("echo") == settings.binding_options("else") == {}
    assert settings.processes("llama_cpp") == 2


def test_automatic_counts_are_zero(tmp_path: Path) -> None:
    config = "bindings: {one: {processes: Auto, replicas: 3, models: {a: {replicas: auto}}}}"
    settings = load(tmp_path, config=config)
    assert settings.processes("one") == settings.processes("else") == 0
    assert settings.replicas("one", "a") == settings.replicas("else", "a") == 0
    assert settings.replicas("one", "b") == 3


def test_the_keep_alive_of_a_model_is_before_its_binding_s_and_the_server_s(
    tmp_path: Path,
) -> None:
    config = """
        keep_alive: 1
        bindings:
          one: {keep_alive: 2, models: {a: {keep_alive: 3}, b: {keep_alive: 0}, c: {replicas: 1}}}
          two: {models: {a: {keep_alive: 4.5}}}
    """
    settings = load(tmp_path, config=config)
    found = [settings.keep_alive_of("one", model) for model in ("a", "b", "c", "")]
    assert found == [3, 0, 2, 2]
    assert [settings.keep_alive_of("two", model) for model in ("a", "b")] == [4.5, 1]
    assert settings.keep_alive_of("three", "a") == 1


@pytest.mark.parametrize("written", ["no", "'no'", "0", "false", "0.0"])
def test_parking_and_slices_can_be_switched_off(tmp_path: Path, written: str) -> None:
    settings = load(tmp_path, config=f"park_after: {written}\nslice: {written}\n")
    assert (settings.park_after, settings.slice) == (0, 0)
    settings = load(tmp_path, "--park-after", "2", LOLLMS_SLICE="No")
    assert (settings.park_after, settings.slice) == (2, 0)


@pytest.mark.parametrize(
    ("written", "allowed"),
    [
        ("[reads, network]", "network,reads"), ("all", "network,reads,writes"),
        ("'reads, writes'", "reads,writes"), ("network", "network"), ("[]", ""), ("", ""),
    ],
)  # fmt: skip
def test_what_a_card_may_have_is_the_gateway_s_own_key(
    tmp_path: Path, written: str, allowed: str
) -> None:
    settings = load(tmp_path, config=f"bindings: {{echo: {{allow: {written}, other: 1}}}}")
    assert settings.allowed("echo") == allowed and settings.allowed("else") == ""
    assert settings.binding_options("echo") == {"other": 1}


@pytest.mark.parametrize(
    "written", ["everything", "true", "[network, /etc]", "{network: true}", "[[]]"]
)
def test_what_nobody_can_allow_is_one_sentence(tmp_path: Path, written: str) -> None:
    sentence = error(tmp_path, config=f"bindings: {{echo: {{allow: {written}}}}}")
    assert "bindings.echo" in sentence and "network, reads, writes, is expected" in sentence


def test_an_unknown_key_is_a_warning_that_names_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load(tmp_path, config="prot: 9700\nhome: elsewhere\n")
    assert ["'prot'" in record.getMessage() for record in caplog.records] == [True, False]
    assert "'home'" in caplog.records[1].getMessage()


def test_an_empty_config_file_is_none(tmp_path: Path) -> None:
    assert load(tmp_path, config="").given == {"home"}


def test_the_help_and_the_table_know_every_setting() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "gateway", "--help"],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for setting in table():
        assert f"--{setting.name}" in shown
        assert f"| `--{setting.name}` | `LOLLMS_{setting.name.upper()}` |" in markdown_table()
