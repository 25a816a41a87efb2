# Everything a developer types. `make` alone says what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-all lint format bench bench-e2e doctor jars cluster-up cluster-down \
	lock clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
LOCKED := $(VENV)/.locked

# The newest suitable Python on PATH that really starts and can make a virtual environment; or PYTHON=...
SUITABLE := import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 13))
PYTHON ?= $(shell for p in python3.12 python3.11 python3.10 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c '$(SUITABLE)' >/dev/null 2>&1 && echo $$p && break; done)

# Files of tests, each in one process, in their order: those that start clusters, which take longest, first.
TEST_PROCESSES ?= 2
TWO_AT_A_TIME := -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

LOCK := --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv with every package at its locked version

# pip and setuptools first, so that packages without a wheel are built by locked versions too.
$(LOCKED): requirements.lock requirements-build.lock
	@test -n "$(PYTHON)" && "$(PYTHON)" -c '$(SUITABLE)' || { \
		echo "No usable Python: 3.10, 3.11 or 3.12 with venv is needed on PATH, or say PYTHON=/path/to/python." >&2; \
		echo "Debian and Ubuntu: sudo apt-get install -y python3 python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-build.lock
	$(BIN)/python -m pip install --quiet --require-hashes --no-build-isolation -r requirements.lock
	@touch $@

$(STAMP): $(LOCKED) pyproject.toml
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## show a pipeline at work on this machine, with nothing else to install
	$(BIN)/sketchstream demo

test: setup jars-if-maven  ## the quick tests; ends with what was skipped and why
	@$(BIN)/pytest -m "not slow" -rs $(TWO_AT_A_TIME); status=$$?; $(MAKE) --no-print-directory missing; exit $$status

test-slow: setup jars-if-maven  ## the slow tests alone
	@$(BIN)/pytest -m slow -rs $(TWO_AT_A_TIME); status=$$?; $(MAKE) --no-print-directory missing; exit $$status

test-all: test test-slow  ## every test, the slow ones too

lint: setup  ## style, format and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: setup  ## put the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## run the benchmarks one after another
	@set -e; for script in $(sort $(wildcard bench/*.py)); do echo "== $$script"; $(BIN)/python $$script; done

bench-e2e: setup jars  ## run the benchmark on a real broker and cluster, beside Flink SQL (long)
	$(BIN)/python -m bench.e2e

cluster-up: setup jars  ## start a broker and a Flink cluster on this machine
	@$(BIN)/python -m flink_job.standalone up

cluster-down: setup  ## end them; the broker's data stay
	@$(BIN)/python -m flink_job.standalone down

doctor: setup  ## say what is wrong with this machine, if anything is
	$(BIN)/sketchstream doctor

jars: .jars/.ready  ## fetch the connector and broker jars into .jars (needs Maven)

.jars/.ready: pom.xml
	@command -v mvn >/dev/null || { $(MAKE) --no-print-directory missing; exit 1; }
	mvn -q -B -P connector dependency:copy-dependencies
	mvn -q -B -P broker dependency:copy-dependencies
	mvn -q -B -P datasketches dependency:copy-dependencies
	@touch $@

lock:  ## write the lock files anew from pyproject.toml (needs uv)
	uv pip compile $(LOCK) --group dev pyproject.toml -o requirements.lock
	echo pip==26.3 setuptools==80.9.0 | tr ' ' '\n' | uv pip compile $(LOCK) --allow-unsafe - -o requirements-build.lock

clean:  ## remove everything that make and the tests made
	rm -rf $(VENV) .jars .sketchstream build dist target *.egg-info .pytest_cache .ruff_cache .hypothesis \
		.import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

.PHONY: jars-if-maven
jars-if-maven:
	@if command -v mvn >/dev/null; then $(MAKE) --no-print-directory jars; fi

.PHONY: missing
missing:
	@command -v mvn >/dev/null || { \
		echo "Maven is missing: the tests against a real broker need its jars. Debian and Ubuntu:"; \
		echo "  sudo apt-get update && sudo apt-get install -y maven"; }
	@command -v prometheus-alertmanager >/dev/null || { \
		echo "Alertmanager is missing: the tests against a real one need it. Debian and Ubuntu:"; \
		echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends prometheus-alertmanager"; }
	@command -v chromium >/dev/null || { \
		echo "Chromium is missing: the tests that open web pages need it. Debian and Ubuntu:"; \
		echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends chromium"; }
