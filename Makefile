# Each target sets up what it needs in .venv, from setup.cfg, and again only when setup.cfg has changed.

VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-test
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: serve test lint bench soak soak-short clean
.DEFAULT_GOAL := serve

# One process from here on: Ctrl-C reaches the server once, and make waits until it has stopped.
serve: $(RUN_STAMP)
	@exec $(BIN)/baludav serve

# A file's tests stay together, so that they share the server they start; in their order, which ends with short files.
test: $(TEST_STAMP)
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(TESTS)

lint: $(TEST_STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

bench: $(TEST_STAMP)
	@$(BIN)/python -m perf.benchmark_sync
	@$(BIN)/python -m perf.load_test_sync
	@$(BIN)/python -m perf.events
	@$(BIN)/python -m perf.plans
	@$(BIN)/python -m perf.sync
	@$(BIN)/python -m perf.compare

# CLIENTS=500 SECONDS=1200 SEED=...: others than these, and the same choices again.
soak: $(TEST_STAMP)
	@$(BIN)/python -m perf.soak $(CLIENTS:%=--clients %) $(SECONDS:%=--seconds %) $(SEED:%=--seed %)

# Two minutes of it, for every change; the report of the long one stays.
soak-short: $(TEST_STAMP)
	@results=$$(mktemp -d) && trap 'rm -rf "$$results"' EXIT && \
	    $(BIN)/python -m perf.soak --clients 100 --seconds 120 $(SEED:%=--seed %) --results "$$results"

clean:
	@rm -rf $(VENV)

$(RUN_STAMP): setup.cfg pyproject.toml $(BIN)/python
	@echo "Installing what baludav needs into $(VENV) ..."
	@$(PIP) install --editable .
	@touch $@

$(TEST_STAMP): $(RUN_STAMP)
	@echo "Installing what the tests need into $(VENV) ..."
	@$(PIP) install --editable '.[test]'
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "baludav needs Python 3.11 or newer. On Debian or Ubuntu: sudo apt install python3 python3-venv" >&2; exit 1; \
	elif ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "$$found has no venv module. On Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 1; \
	fi; \
	"$$found" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
