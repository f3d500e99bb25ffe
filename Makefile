# `make run` and `make test` do everything on a fresh machine; `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help run chat test check model model-eval benchmarks clean

help:
	@echo 'make run         run the server in the foreground; Ctrl-C stops it'
	@echo 'make chat        chat with the server in a terminal'
	@echo 'make test        run the tests'
	@echo 'make check       run ruff, mypy --strict and the test of the import rules'
	@echo 'make model       train the embedded model again (about an hour)'
	@echo 'make model-eval  measure what the embedded model can do'
	@echo 'make benchmarks  measure throughput, memory use and start time'
	@echo 'make clean       delete what make has created; the home (var/) stays'

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
