"""Build or install the peers of the benchmarks.

llama-server is compiled from the llama.cpp inside the installed release of
llama-cpp-python, with the same flags. The dependencies of llama_cpp.server are installed
into their own folder, other peers into virtual environments. All stay in the user's cache,
so only the first run takes minutes.
"""

import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

FLAGS = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
"""As the project compiles the library: gcc 12 miscompiles AMX."""
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "CMAKE_C_FLAGS": FLAGS,
    "CMAKE_CXX_FLAGS": FLAGS,
    "BUILD_SHARED_LIBS": "ON",
    "LLAMA_CURL": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
}
SERVER_REQUIREMENTS = (
    "uvicorn", "fastapi", "pydantic-settings", "sse-starlette", "starlette-context>=0.3.6,<0.4",
    "PyYAML",
)  # fmt: skip
"""llama-cpp-python's extra `server`, without the library itself."""


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "lollms-benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def virtual_environment(name: str, requirements: tuple[str, ...]) -> Path:
    """The Python of a virtual environment with these packages, which is created if missing."""
    folder = cache() / name
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists() or ready.read_text() != str(requirements):
        print(f"installing {', '.join(requirements)}, once", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "-q", *requirements],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
        ready.write_text(str(requirements))
    return python


def llama_server() -> Path:
    """The program; compiled first at low priority, if missing."""
    release = version("llama-cpp-python")
    build = cache() / f"llama-server-{release}"
    program = build / "bin" / "llama-server"
    if program.exists():
        return program
    source = _source(release) / "vendor" / "llama.cpp"
    print(f"compiling llama-server {release}; this takes some minutes, once", file=sys.stderr)
    options = [f"-D{name}={value}" for name, value in OPTIONS.items()]
    for command in (
        ["cmake", "-S", str(source), "-B", str(build), *options],
        ["cmake", "--build", str(build), "--target", "llama-server", "-j", str(os.cpu_count())],
    ):
        subprocess.run(["nice", "-n", "19", *command], check=True, stdout=sys.stderr)
    return program


def _source(release: str) -> Path:
    folder = cache() / f"llama_cpp_python-{release}"
    if folder.exists():
        return folder
    archives = cache() / "sdist"
    subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary",
            "llama-cpp-python", "-d", str(archives), f"llama-cpp-python=={release}",
        ],
        check=True, stdout=sys.stderr,
    )  # fmt: skip
    [archive] = archives.glob(f"llama_cpp_python-{release}.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(cache(), filter="data")
    return folder


def llama_cpp_server_path() -> Path:
    """What to put on PYTHONPATH so that `python -m llama_cpp.server` starts."""
    folder = cache() / f"llama_cpp_server-{version('llama-cpp-python')}"
    if not (folder / "fastapi").exists():
        subprocess.run(
            [
                sys.executable, "-m", "pip", "install", "-q", "--target", str(folder),
                *SERVER_REQUIREMENTS,
            ],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
    return folder
