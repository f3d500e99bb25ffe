# `make run` and `make test` do everything on a fresh machine; `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help run chat test check model model-eval benchmarks clean

help:
	@echo 'make run         run the server in the foreground; Ctrl-C stops it'
	@echo 'make chat        talk to it in a terminal'
	@echo 'make test        the tests'
	@echo 'make check       ruff, mypy --strict, who may import whom'
	@echo 'make model       train the embedded model again (about an hour)'
	@echo 'make model-eval  what the embedded model can do, measured'
	@echo 'make benchmarks  the figures of the README'
	@echo 'make clean       remove what make has made; the home (var/) stays'

run: $(READY)
	@exec $(BIN)/python -m gateway.launch

chat: $(READY)
	@exec $(BIN)/python -m chat $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy protocol gateway worker bindings chat tools
	$(BIN)/python -m pytest -q tests/test_architecture.py

# PyTorch is needed for these two only, and only then installed.
$(VENV)/.model: $(READY)
	$(BIN)/python tools/requirements.py model | xargs $(BIN)/python -m pip install
	@touch $@

model: $(VENV)/.model
	$(BIN)/python -m embedded_model.train $(ARGS)
	$(BIN)/python -m embedded_model.export
	$(BIN)/python -m embedded_model.expect

model-eval: $(READY)
	$(BIN)/python -m embedded_model.evaluate $(ARGS)

benchmarks: $(READY)
	$(BIN)/python -m benchmarks.end_to_end

$(READY): pyproject.toml tools/install.sh tools/requirements.py tools/build_llama_cpp.py
	@PYTHON='$(PYTHON)' sh tools/install.sh $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
