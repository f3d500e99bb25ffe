#!/bin/sh
# Creates the virtual environment: the packages of pyproject.toml, and llama-cpp-python compiled
# for this machine. The compiled wheel is kept in the user's cache, so a second checkout is fast.
set -eu
venv=$1
python=${PYTHON:-python3}

say() { printf '%s\n' "$*"; }
fail() { say "error: $*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "$python is not Python 3.11 or newer; select another one: make PYTHON=python3.12 …"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" ||
    fail "$python cannot create a virtual environment (Debian: apt install python3-venv)"
bin=$PWD/$venv/bin
pip() { "$bin/python" -m pip --disable-pip-version-check --quiet "$@"; }

say "installing the Python packages …"
"$bin/python" -m tools.requirements test >"$venv/requirements.txt"
pip install --requirement "$venv/requirements.txt"

wheels=$("$bin/python" -m tools.build_llama_cpp)
"$bin/python" -m tools.requirements llama >"$venv/requirements.txt"
pip install --find-links "$wheels" --requirement "$venv/requirements.txt"
say "everything is installed in $venv"
