# Two commands for a fresh clone: `make demo` and `make test`. `make` alone lists the others.
# PYTHON=python3.12 chooses the interpreter, EXTRAS=dev,desilo what is installed beside eer,
# JOBS=1 how many processes run the tests.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dev
JOBS ?= 2

PY := $(VENV)/bin/python
comma := ,
# One stamp for each set of extras: a second run of the same command installs nothing.
SETUP := $(VENV)/.eer-setup-$(subst $(comma),-,$(EXTRAS))

# The networks here are small: more threads than one only get into each other's way.
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo demo-quick demo-hideandseek test test-all lint format bench clean
.DEFAULT_GOAL := help

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-17s%s\n", $$1, $$2}'

setup: $(SETUP) ## make .venv and install eer with all that the other commands need

$(SETUP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "eer needs Python 3.11 or later: choose one with make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "this Python cannot make virtual environments: install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[$(EXTRAS)]'
	@touch $@

demo: $(SETUP) ## train, compile and run a stress recogniser on encrypted windows
	$(PY) -m examples.wesad --quick

demo-quick: $(SETUP) ## the same on synthetic recordings and one subject only
	$(PY) -m examples.wesad --quick --synthetic --folds 1 --features wrist --out out/demo-quick

demo-hideandseek: $(SETUP) ## the same approach on the Hide-and-Seek study's calls
	$(PY) -m examples.hideandseek --quick

test: $(SETUP) ## run the tests
	$(PY) -m pytest -n $(JOBS) --dist worksteal -m 'not slow'

test-all: $(SETUP) ## run the tests, slow ones too
	$(PY) -m pytest -n $(JOBS) --dist worksteal

lint: $(SETUP) ## check style and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(SETUP) ## put the code into shape
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(SETUP) ## measure compile time, key sizes, latency and memory
	$(PY) -m benchmarks

clean: ## remove caches and results, but not .venv
	rm -rf build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -type d -prune -exec rm -rf {} +
