# Courtyard. `make demo` sets up and runs the demo community; `make test` sets up and passes the tests.

# The system's own first: it is what the box runs, and Debian builds it for speed.
PYTHON ?= /usr/bin/python3.11 python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS   ?=

.PHONY: help demo test check format bench fuzz stories faults lock wheel services clean

help:
	@echo "make demo [ARGS='--for 60s']  a simulated community on real protocols, and the daemon on it"
	@echo "make test                     lint, types, import contracts and all tests"
	@echo "make check                    lint, types and import contracts only"
	@echo "make bench                    benchmarks, as ratios in one run"
	@echo "make fuzz [ARGS='100000']     a million damaged frames, then other bad input"
	@echo "make faults [ARGS='200']      outages, lying devices, kill -9, power cuts: each so often, counted"
	@echo "make format                   lay the code out"
	@echo "make lock                     choose the locked versions anew"
	@echo "make wheel                    build the wheel into dist/"

$(BIN)/python:
	@for python in $(PYTHON); do \
		command -v $$python >/dev/null && $$python -m venv $(VENV) 2>/dev/null && exit 0; rm -rf $(VENV); done; \
	echo "no Python 3.11 that can make $(VENV); on Debian 12: sudo apt-get install python3 python3-venv, or say make PYTHON=..." >&2; exit 1

# Exact versions with hashes first, then the checkout itself with what is installed: nothing unpinned comes in.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing what Courtyard runs on (once) ..."
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "installing what the tests need (once) ..."
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

demo: $(VENV)/.runtime
	@exec $(BIN)/courtyard demo $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Real peers that some tests talk to. CI gets them here; elsewhere each test that lacks one says how to get it.
services:
	@.ci/services

test: check services
	$(BIN)/pytest -n 2 $(ARGS)

bench: $(VENV)/.dev
	@$(BIN)/python -m tests.bench $(ARGS)

# atheris (coverage-guided) is tried for, never needed; it lies in a folder of its own.
fuzz: $(VENV)/.dev
	@$(BIN)/python -m tests.fuzz $(ARGS)
	@test -d $(VENV)/fuzz || $(PIP) install --target $(VENV)/fuzz --only-binary :all: --require-hashes \
		-r tests/fuzz/requirements.txt 2>/dev/null || true
	@PYTHONPATH=$(VENV)/fuzz $(BIN)/python -m tests.fuzz.by_coverage -max_total_time=60 -verbosity=0 -print_final_stats=1 || \
		test -z "$$(ls -d $(VENV)/fuzz/atheris 2>/dev/null)"

# Every scenario with so many seeds: exactly the alarms that its file names.
stories: $(VENV)/.dev
	COURTYARD_SEEDS=$(or $(ARGS),20) $(BIN)/pytest tests/stories/test_seeds.py

faults: $(VENV)/.dev
	@$(BIN)/pytest -q tests/faults
	@$(BIN)/python -m tests.faults $(ARGS)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock: $(VENV)/.dev
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--extra build --output-file requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

wheel: $(VENV)/.dev
	$(BIN)/python -m hatchling build -t wheel

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
