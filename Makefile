# Python 3.10-3.13 and make are all it takes: uv is used where it is, else fetched into .venv, else pip does it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash
# Where an environment forbids compiled files, each of the hundreds of processes of the suites compiles Airflow again.
export PYTHONDONTWRITEBYTECODE :=
DIST := dist

.PHONY: help env demo demo-ui test test-all lint matrix bench wheel clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 14) else f"Python 3.10-3.13 is needed, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	@echo "== installing into $(VENV) (a minute or two the first time)"
	@if command -v uv >/dev/null 2>&1; then uv venv -q --no-python-downloads --allow-existing --python $(PYTHON) $(VENV) && uv pip install -q --python $(BIN)/python -e '.[dev]'; \
	else $(PYTHON) -m venv $(VENV) && { $(BIN)/python -m pip install -q --disable-pip-version-check uv && $(BIN)/uv pip install -q --python $(BIN)/python -e '.[dev]' || $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'; }; fi
	@touch $@

env: $(VENV)/.installed ## make .venv with everything in it

demo: env ## the end-to-end demo on this machine, without an AWS account
	@$(BIN)/python -m demo

demo-ui: env ## the same, opened on the run's timeline; Airflow stays open
	@$(BIN)/python -m demo --ui

test: env ## the bounded suite: at most 10 minutes on 2 cores
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: env ## also the slow ones, and new examples for the property tests
	@AIRFLOW_SPOT_NEW_EXAMPLES=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: env wheel ## ruff, mypy --strict, the import contract, the wheel
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/twine --no-color check --strict $(DIST)/airflow_spot-*.whl
	@$(BIN)/check-wheel-contents $(DIST)/airflow_spot-*.whl

matrix: env ## the wheel on every supported Airflow: half an hour; SCENARIOS=bounded for at most ten minutes
	@$(BIN)/python -m tests.matrix --scenarios $(or $(SCENARIOS),all)

bench: env ## the benchmarks, against the stock operator and an older version: a quarter of an hour
	@$(BIN)/python bench/import_cost.py
	@$(BIN)/python bench/worker_cost.py
	@$(BIN)/python bench/faults.py
	@$(BIN)/python bench/watch.py
	@$(BIN)/python bench/calls.py
	@$(BIN)/python bench/pages_load.py

wheel: ## build the wheel into dist/, which docker-compose.yaml mounts
	@rm -f $(DIST)/airflow_spot-*.whl
	@if command -v uv >/dev/null 2>&1; then uv build -q --no-python-downloads --wheel --python $(PYTHON) --out-dir $(DIST); \
	elif [ -x $(BIN)/uv ]; then $(BIN)/uv build -q --no-python-downloads --wheel --python $(PYTHON) --out-dir $(DIST); \
	else $(PYTHON) -m pip wheel -q --disable-pip-version-check --no-deps --wheel-dir $(DIST) .; fi
	@ls $(DIST)/airflow_spot-*.whl

clean: ## remove what these targets made
	rm -rf $(VENV) .bench .demo .frameworks dist build *.egg-info
