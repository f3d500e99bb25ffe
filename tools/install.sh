#!/bin/sh
# Makes the virtual environment: the packages of pyproject.toml, and llama-cpp-python compiled
# for this machine. What was compiled is kept in the user's cache: a second checkout is quick.
set -eu
venv=$1
python=${PYTHON:-python3}

say() { printf '%s\n' "$*"; }
fail() { say "error: $*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "$python is not Python 3.11 or newer; name one that is: make PYTHON=python3.12 …"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" ||
    fail "$python cannot make a virtual environment (Debian: apt install python3-venv)"
bin=$PWD/$venv/bin
pip() { "$bin/python" -m pip --disable-pip-version-check --quiet "$@"; }

say "installing the Python packages …"
"$bin/python" tools/requirements.py test >"$venv/requirements.txt"
pip install --requirement "$venv/requirements.txt"

version=$("$bin/python" tools/requirements.py llama | sed -n 's/^llama-cpp-python==//p')
compiler=${CXX:-c++}
command -v "$compiler" >/dev/null || fail "no C++ compiler (Debian: apt install g++)"

flags="-DLLAVA_BUILD=OFF ${CMAKE_ARGS:-}"
case $(uname -m) in
x86_64 | amd64)
    # gcc 12 drops the stores of the AMX tile configuration, and the first evaluation of a
    # quantised model then crashes on processors that have AMX: build without it.
    amx="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
    if echo 'int main(){}' | "$compiler" $amx -x c++ -fsyntax-only - 2>/dev/null; then
        flags="$flags -DCMAKE_C_FLAGS='$amx' -DCMAKE_CXX_FLAGS='$amx'"
        say "llama.cpp is built with AMX off (gcc 12 miscompiles it)"
    fi
    ;;
esac

# Built for this very processor and by this compiler: the name of the cache says for which.
key=$({
    say "$version $flags"
    "$compiler" --version | head -n 1
    "$bin/python" -c 'import sysconfig; print(sysconfig.get_platform())'
    grep -m 1 '^flags' /proc/cpuinfo 2>/dev/null || sysctl -n machdep.cpu.features 2>/dev/null || :
} | cksum | tr ' ' '-')
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lollms-server/llama-cpp-python-$version-$key
mkdir -p "$cache"
if ! ls "$cache"/*.whl >/dev/null 2>&1; then
    cores=$("$bin/python" -c 'import os; print(os.cpu_count() or 1)')
    say "compiling llama.cpp on $cores core(s): some 8 core-minutes, once; log: $cache/build.log"
    CMAKE_ARGS=$flags CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$cores} \
        "$bin/python" -m pip --disable-pip-version-check wheel --verbose --no-deps --no-cache-dir \
        --no-binary llama-cpp-python --wheel-dir "$cache/new" "llama-cpp-python==$version" \
        >"$cache/build.log" 2>&1 &
    build=$!
    trap 'kill $build 2>/dev/null || :' INT TERM
    seconds=0
    while kill -0 $build 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        [ $((seconds % 30)) -ne 0 ] || say "  … $(grep -oE '^ *\[[0-9]+/[0-9]+\]' "$cache/build.log" |
            tail -n 1 | tr -d ' ') after $seconds s"
    done
    wait $build || { tail -n 20 "$cache/build.log" >&2; fail "llama.cpp could not be compiled"; }
    mv "$cache"/new/*.whl "$cache/"
fi
"$bin/python" tools/requirements.py llama >"$venv/requirements.txt"
pip install --find-links "$cache" --requirement "$venv/requirements.txt"
say "everything is installed in $venv"
