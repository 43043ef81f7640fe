# All commands for developers. Needs Python 3.11 or newer and make; the rest is installed into .venv from locked
# requirements. PYTHON3=/path/to/python make … chooses another interpreter for it.

VENV := .venv
PYTHON := $(VENV)/bin/python
PYTHON3 ?=
SEEDS ?= 200
FIRST ?= 1
TESTS ?=
# Tests that run at a time: much of the suite waits for processes. WORKERS=0 runs them one after the other.
WORKERS ?=
# Multiplies the random examples and the sizes of the tests.
EFFORT ?= 1
LOCK_FLAGS ?=
ONLY ?=
# Arguments of the benchmark, for example BENCH="--store sqlite".
BENCH ?=
SHORT := --rounds 1 --seconds 1 --connections 32 --only accept complete
# The folder with the benchmark of other services, which runs a hand-written one beside ours.
PEERS ?= ../shared/peers
JOBS ?= 2
REPORT ?=

COMPILE = $(PYTHON) -m piptools compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host $(LOCK_FLAGS)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start hundreds of processes. Without compiled files each of them compiles the service again.
unexport PYTHONDONTWRITEBYTECODE
export TESTS_EFFORT := $(EFFORT)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test check format bench bench-short bench-scale bench-tools simulate mutants coverage lock \
	asyncapi-tools clean image image-test image-tools monitoring-tools

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/installed ## virtual environment .venv with the locked dependencies (hashes)
	@:

# An environment without its interpreter (removed, or moved by an upgrade) is created again, too.
ifneq ($(shell test -x $(PYTHON) && echo works),works)
.PHONY: $(VENV)/installed
endif

# A new environment for each new lock: packages that are no longer required must not remain.
$(VENV)/installed: requirements-dev.txt
	@set -e; \
	python3=; \
	for candidate in $(or $(PYTHON3),python3 python3.11 python3.12 python3.13 python3.14 python); do \
		if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			python3=$$candidate; break; \
		fi; \
	done; \
	if [ -z "$$python3" ]; then \
		echo "make setup: needs Python 3.11 or newer; not found as: $(or $(PYTHON3),python3 python3.11 … python);" \
			"use PYTHON3=/path/to/python make setup" >&2; \
		exit 1; \
	fi; \
	if ! $$python3 -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "make setup: $$python3 lacks the modules venv and ensurepip; Debian and Ubuntu have them in a separate" \
			"package: apt install python3-venv" >&2; \
		exit 1; \
	fi; \
	echo "setting up $(VENV) with $$($$python3 -V)"; \
	$$python3 -m venv --clear $(VENV); \
	$(PYTHON) -m pip install --quiet --require-hashes --requirement requirements-dev.txt; \
	touch $@

run: setup ## service and simulated providers, with commands to try; Ctrl-C stops everything
	@exec $(PYTHON) manage.py dev

test: setup ## the whole test suite; TESTS=path for a part of it, EFFORT=4 for more random examples
ifeq ($(strip $(TESTS)),)
	@$(PYTHON) -m tests.tooling.suite$(if $(WORKERS), --workers $(WORKERS))
else
	@$(PYTHON) -m pytest -n $(or $(WORKERS),3) $(TESTS)
endif

check: setup ## ruff, mypy, import-linter, lock files, links and references, table of mutants
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check --quiet . || { echo "not formatted: make format" >&2; exit 1; }
	@$(PYTHON) -m mypy
	@$(VENV)/bin/lint-imports
	@$(PYTHON) -m tests.tooling.lockfile check
	@$(PYTHON) -m tests.tooling.references
	@$(PYTHON) -m tests.mutants --check

format: setup ## format the code as make check requires
	@$(PYTHON) -m ruff check --fix --quiet . || true
	@$(PYTHON) -m ruff format .

bench: setup ## measure the performance; the figures go into bench/RESULTS.md
	@$(PYTHON) -m bench --peers $(PEERS) $(BENCH)

bench-short: setup ## a benchmark of about a minute, which fails on failures and never on times
	@$(PYTHON) -m bench $(SHORT)

bench-scale: setup ## the benchmark on databases with 10 million events, for several minutes
	@$(PYTHON) -m bench --scale $(BENCH)

bench-tools: ## install what the hand-written service of make bench needs (Debian), into var/bench-tools
	@bench/tools.sh $(PEERS)

simulate: setup ## deterministic simulation; SEEDS=200 FIRST=1, ROLES=api,processor,relay, else the seed chooses
	@$(PYTHON) -m tests.simulation --seeds $(SEEDS) --first $(FIRST)$(if $(ROLES), --roles $(ROLES))

mutants: setup ## mutations of critical lines, each caught by a test; ONLY=name, REPORT=file, JOBS=2
	@$(PYTHON) -m tests.mutants --jobs $(JOBS) --only "$(ONLY)"$(if $(REPORT), --report $(REPORT))

coverage: setup ## the test suite with a report of the lines that it does not reach
	@$(PYTHON) -m coverage run -m pytest $(TESTS)
	@$(PYTHON) -m coverage combine --quiet
	@$(PYTHON) -m coverage report

lock: setup ## rebuild requirements*.txt from setup.cfg; LOCK_FLAGS=--upgrade for newer versions
	@$(COMPILE) --output-file=requirements.txt setup.cfg
	@$(COMPILE) --output-file=requirements-dev.txt --extra=dev --constraint=requirements.txt setup.cfg
	@$(PYTHON) -m tests.tooling.lockfile stamp
	@$(PYTHON) -m tests.tooling.lockfile check

image: ## the image payments:dev, with Docker or (Debian, as root) buildah
	@deploy/image.sh build

image-test: setup image ## the image, and a test deposit through the containers of docker-compose.yml
	@$(PYTHON) -m tests.tooling.image

image-tools: ## install what make image needs on a machine without Docker (Debian, as root)
	@deploy/image.sh tools

# Extracted from Debian's package, whose installation would start a server and need root. Only promtool is installed.
monitoring-tools: setup ## promtool, which tests the alerts (Debian; as root it updates the lists of packages first)
	@set -e; \
	if [ "$$(id -u)" = 0 ]; then apt-get update --quiet=2; fi; \
	folder=$$(mktemp -d); \
	trap 'rm -rf "$$folder"' EXIT; \
	(cd "$$folder" && apt-get download --quiet=2 --option APT::Sandbox::User=root prometheus); \
	dpkg-deb --fsys-tarfile "$$folder"/prometheus_*.deb \
		| tar --extract --directory=$(VENV)/bin --strip-components=3 ./usr/bin/promtool

# Nothing of it runs at the installation.
asyncapi-tools: ## @asyncapi/parser, which validates /asyncapi.json (needs node and npm), into var/asyncapi-tools
	@npm install --prefix var/asyncapi-tools --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
		@asyncapi/parser@3.6.6

clean: ## remove .venv and caches; never var/, which holds the data
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
