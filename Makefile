# The front door. `make serve` and `make test` need nothing but Python 3.11 or later and, for packages without a built
# wheel, gcc: they make their own environment in .venv and only touch it again when pyproject.toml changes.

PYTHON ?= $(shell for name in python3 python3.15 python3.14 python3.13 python3.12 python3.11 python; do \
	path=$$(command -v $$name) && $$path -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$path && break; done)
VENV ?= .venv
# How many processes the tests run in. Twice the cores: half of the time of a test is spent waiting for servers and timeouts.
PROCESSES ?= $(shell $(PYTHON) -c 'import os; print(min(2 * (os.cpu_count() or 1), 16))')
# Further arguments for the command that the target runs: make test ARGS="-k lifespan -x"
ARGS ?=

# What `make serve` serves, and how.
APP ?= hello:app
PORT ?= 8000
BIND ?= 127.0.0.1:$(PORT)
WORKERS ?= 2
WORKER_CLASS ?= uvloop

# Compiled once, not by each server of a test: there are hundreds, and one starts in half the processor time.
unexport PYTHONDONTWRITEBYTECODE

PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help serve test test-all cover lint fmt types bench conformance docs dist clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

# The examples other than hello need the frameworks that the development tools bring along.
serve: $(VENV)/$(if $(filter hello:%,$(APP)),.installed,.installed-dev)  ## serve examples/hello.py (APP, PORT, BIND, WORKERS, WORKER_CLASS, ARGS)
	@exec $(VENV)/bin/hypercorn --app-dir examples --bind $(BIND) --workers $(WORKERS) \
		--worker-class $(WORKER_CLASS) $(ARGS) $(APP)

test: $(VENV)/.installed-dev  ## run the tests (PROCESSES at once; ARGS are pytest's)
	$(VENV)/bin/python -m pytest --numprocesses $(PROCESSES) --dist worksteal $(ARGS)

test-all:  ## run the tests on each supported CPython found
	@set -e; .ci/pythons | while read -r version path; do \
		if [ "$$path" = - ]; then echo "== CPython $$version: not found, left out"; continue; fi; \
		echo "== CPython $$version: $$path"; \
		$(MAKE) --no-print-directory test PYTHON="$$path" VENV=".venv-$$version" </dev/null; \
	done

cover: $(VENV)/.installed-dev  ## run the tests and report the coverage by branches
	$(VENV)/bin/coverage erase
	$(VENV)/bin/coverage run -m pytest $(ARGS)
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

lint: $(VENV)/.installed-dev  ## ruff: rules and format
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check

fmt: $(VENV)/.installed-dev  ## ruff: repair and format
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

types: $(VENV)/.installed-dev  ## mypy strict, pyright strict
	$(VENV)/bin/mypy
	$(VENV)/bin/pyright

bench:  ## measure against the peers, write docs/performance.md (ARGS=--quick for a first look)
	$(PYTHON) -m benchmarks $(ARGS)

conformance: $(VENV)/.installed-dev  ## run Autobahn's WebSocket cases where CPython 2.7 is found (ARGS='--loops uvloop --cases 1.*')
	$(VENV)/bin/python tests/conformance/run_autobahn.py $(ARGS)

docs: $(VENV)/.installed-dev  ## write the generated pages of docs/ anew
	$(VENV)/bin/python -m hypercorn.config.manual docs/settings.md

dist: $(VENV)/.installed-dev  ## build wheel and sdist into dist/
	rm -rf dist
	$(VENV)/bin/python -m build --outdir dist

clean:  ## remove environments, builds and caches
	rm -rf .venv .venv-* dist build .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.ready: .ci/make-venv
	@echo "Making $(VENV) with $(PYTHON)"
	@.ci/make-venv "$(PYTHON)" "$(VENV)"
	@touch $@

$(VENV)/.installed: $(VENV)/.ready pyproject.toml
	@echo "Installing hypercorn into $(VENV)"
	@$(PIP) --editable '.[trio]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.ready pyproject.toml
	@echo "Installing hypercorn and the development tools into $(VENV)"
	@$(PIP) --editable . --group dev
	@touch $@ $(VENV)/.installed
