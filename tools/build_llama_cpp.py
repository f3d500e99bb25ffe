"""Compile llama-cpp-python for this machine, once, and keep the wheel in the user's cache.

Prints the folder of the wheel to stdout, and progress to stderr.
"""

import fcntl
import hashlib
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from tools.requirements import requirements

NAME = "llama-cpp-python"
CORE_MINUTES = 8
PROGRESS_SECONDS = 30
NO_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
"""gcc 12 drops the stores of the AMX tile configuration. On processors with AMX, the first
evaluation of a quantised model then crashes. So AMX is off."""


def main() -> int:
    (version,) = (r.split("==")[1] for r in requirements("llama") if r.startswith(f"{NAME}=="))
    compilers = [os.environ.get("CC", "cc"), os.environ.get("CXX", "c++")]
    for compiler in compilers:
        if not shutil.which(shlex.split(compiler)[0]):
            return _fail(f"compiler {compiler!r} not found (Debian: apt install g++)")
    flags = cmake_arguments(os.environ.get("CMAKE_ARGS", ""), _amx_off(compilers))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lollms-server"
    folder = cache / f"{NAME}-{version}-{_key(version, flags, compilers)}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _report("another checkout is compiling llama.cpp; waiting for it …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(folder.glob("*.whl")) and not _compile(version, flags, folder):
            return 1
    print(folder)
    return 0


def cmake_arguments(given: str, compiler_flags: str) -> str:
    """The user's arguments and ours. Our compiler flags are appended to those of the user."""
    arguments = ["-DLLAVA_BUILD=OFF", *shlex.split(given)]
    for name in ("-DCMAKE_C_FLAGS", "-DCMAKE_CXX_FLAGS") if compiler_flags else ():
        users = [a for a in arguments if a.partition("=")[0].partition(":")[0] == name]
        arguments = [a for a in arguments if a not in users]
        flags = [*(a.partition("=")[2] for a in users[-1:]), compiler_flags]
        arguments.append(f"{name}={' '.join(flags)}")
    return shlex.join(arguments)


def _amx_off(compilers: list[str]) -> str:
    """The flags that turn AMX off; "" if the architecture or a compiler has no AMX."""
    if platform.machine() not in ("x86_64", "amd64"):
        return ""
    for compiler in compilers:
        command = [*shlex.split(compiler), *NO_AMX.split(), "-x", "c", "-fsyntax-only", "-"]
        if subprocess.run(command, input=b"int x;", capture_output=True, check=False).returncode:
            return ""  # a compiler that rejects the flags does not generate AMX code
    return NO_AMX


def _key(version: str, flags: str, compilers: list[str]) -> str:
    """Identifies processor, compilers, version and flags of a build."""
    processor = platform.processor()
    if (info := Path("/proc/cpuinfo")).exists():
        match = re.search(r"^(?:flags|Features)\s*:.*$", info.read_text(), re.MULTILINE)
        processor = match[0] if match else processor
    versions = [
        subprocess.run([*shlex.split(each), "--version"], capture_output=True, check=False).stdout
        for each in compilers
    ]
    build = repr((version, flags, processor, versions, sysconfig.get_platform()))
    return hashlib.sha256(build.encode()).hexdigest()[:12]


def _compile(version: str, flags: str, folder: Path) -> bool:
    cores = int(os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL") or os.cpu_count() or 1)
    log, new = folder / "build.log", folder / "new"
    minutes = -(-CORE_MINUTES // cores)
    _report(f"compiling llama.cpp for this machine, once: about {minutes} min on {cores} core(s)")
    if NO_AMX in flags:
        _report("  without AMX, which gcc 12 compiles incorrectly")
    _report(f"  log: {log}")
    command = [
        sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--verbose",
        "--no-deps", "--no-cache-dir", "--no-binary", NAME, "--wheel-dir", str(new),
        f"{NAME}=={version}",
    ]  # fmt: skip
    environment = {**os.environ, "CMAKE_ARGS": flags, "CMAKE_BUILD_PARALLEL_LEVEL": str(cores)}
    with log.open("wb") as output:
        build = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            _follow(build, log)
        finally:
            if build.poll() is None:  # interrupted: also end ninja and its compilers
                os.killpg(build.pid, signal.SIGTERM)
                build.wait()
    wheels = list(new.glob("*.whl"))
    if build.returncode or not wheels:
        sys.stderr.write("".join(log.read_text(errors="replace").splitlines(True)[-20:]))
        return not _fail("llama.cpp could not be compiled")
    wheels[0].rename(folder / wheels[0].name)
    new.rmdir()
    return True


def _follow(build: subprocess.Popen[bytes], log: Path) -> None:
    began = time.monotonic()
    while True:
        try:
            build.wait(PROGRESS_SECONDS)
            return
        except subprocess.TimeoutExpired:
            steps = re.findall(r"^ *(\[\d+/\d+\])", log.read_text(errors="replace"), re.MULTILINE)
            seconds = time.monotonic() - began
            _report(f"  … {steps[-1] if steps else 'preparing'} after {seconds:.0f} s")


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _fail(reason: str) -> int:
    _report(f"error: {reason}")
    return 1


def _terminated(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        _report("interrupted; the next run compiles from the beginning")
        sys.exit(130)
