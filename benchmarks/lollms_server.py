"""Install and start the original server, lollms, for comparison with ours.

lollms 2.1.13 from PyPI runs in its own virtual environment, which stays in the user's
cache, with its home in a temporary folder and a binding that computes nothing. The
binding is ours; nothing of the original is changed.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.peer_builds import virtual_environment

VERSION = "2.1.13"
REQUIREMENTS = (f"lollms=={VERSION}", "requests", "setuptools<81")
"""The release does not declare the last two, but does not start without them."""
PERSONALITY = "english/generic/lollms"
BINDING = '''\
import sys
import time
from pathlib import Path

from lollms.binding import LLMBinding
from lollms.config import BaseConfig, ConfigTemplate, TypedConfig
from lollms.types import MSG_TYPE

binding_name = "Words"


class Words(LLMBinding):
    """Generates the time, word by word. The prompt is the number of words per second; 0 means
    as fast as possible. Prints the time at which a cancel was noticed."""

    def __init__(self, config, lollms_paths=None, installation_option=None):
        folder = Path(__file__).parent
        typed = TypedConfig(ConfigTemplate([]), BaseConfig(config={}))
        super().__init__(folder, lollms_paths, config, typed)

    def build_model(self):
        return self

    def get_available_models(self):
        return [{"filename": "words", "model_type": "api"}]

    def generate(self, prompt, n_predict=128, callback=None, verbose=False, **parameters):
        try:
            pace = float(prompt)
        except ValueError:
            pace = 0.0
        words, due = [], time.monotonic()
        for _ in range(n_predict):
            if pace:
                due += 1 / pace
                time.sleep(max(0.0, due - time.monotonic()))
            word = f"{time.monotonic():.6f} "
            words.append(word)
            if callback and not callback(word, MSG_TYPE.MSG_TYPE_CHUNK):
                print(f"\\n{time.monotonic()}", flush=True)
                break
        return "".join(words)
'''


def python() -> Path:
    """The Python of its virtual environment, which is created if missing."""
    return virtual_environment(f"lollms-{VERSION}", REQUIREMENTS)


def prepare(home: Path) -> None:
    """Write the files that the original expects: a binding, personalities, a configuration."""
    personal = home / "personal"
    binding = personal / "bindings_zoo" / "words"
    zoo = personal / "personalities_zoo"
    personalities = [zoo / PERSONALITY, zoo / "english" / "a" / "b"]
    for folder in (binding, *personalities, personal / "configs"):
        folder.mkdir(parents=True)
    (binding / "__init__.py").write_text(BINDING)
    (binding / "binding_card.yaml").write_text("name: words\n")
    (binding / "models.yaml").write_text("- filename: words\n  model_type: api\n")
    for personality in personalities:
        (personality / "config.yaml").write_text(
            "name: lollms\nversion: 1\nauthor: us\nuser_name: user\nlanguage: english\n"
            "category: generic\npersonality_description: x\npersonality_conditioning: x\n"
        )
    [package] = python().parent.parent.glob("lib/python3*/site-packages/lollms")
    (home / "lollms_server_global_paths_cfg.yaml").write_text(
        f"lollms_path: {package}\nlollms_personal_path: {personal}\n"
    )
    settings = (package / "configs" / "config.yaml").read_text()
    settings = settings.replace("binding_name: null", "binding_name: words")
    settings = settings.replace("model_name: null", "model_name: words")
    (personal / "configs" / "lollms_server_local_config.yaml").write_text(settings)


def start(home: Path, port: int, **options: Any) -> subprocess.Popen[str]:
    """Start it in a prepared home; it listens some seconds later."""
    return subprocess.Popen(
        [str(python()), "-W", "ignore", "-u", "-c", "from lollms.server import main; main()",
         "--host", "127.0.0.1", "--port", str(port)],
        cwd=home, text=True, stdin=subprocess.DEVNULL, start_new_session=True,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "GIT_CEILING_DIRECTORIES": str(home),
             "PYTHONDONTWRITEBYTECODE": "1"},
        **options,
    )  # fmt: skip


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running(port: int, log: Path) -> Iterator[subprocess.Popen[str]]:
    """The server runs until the end of the block; its output goes to `log`."""
    home = Path(tempfile.mkdtemp(prefix="original-"))
    prepare(home)
    with log.open("a") as file:
        process = start(home, port, stdout=file, stderr=file)
    try:
        yield process
    finally:
        stop(process)
        shutil.rmtree(home, ignore_errors=True)
