# Everything a person or a CI machine does with this checkout; `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
PYTEST := $(BIN)/pytest
# Three processes of tests, as those that start Ray wait a good deal; one that crashes ends the run,
# and its test is named.
SIDE_BY_SIDE := -n 3 --max-worker-restart 0

# Tests start this program a hundred times: what is compiled once stays so, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-servers test-faults test-gpu check fmt lint type arch cover bench bench-gpu docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): pyproject.toml
	@deploy/preflight.sh $(PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $(READY)

$(READY_DEV): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(READY_DEV)

setup: $(READY) ## install maskstream into .venv

setup-dev: $(READY_DEV) ## the same with what tests and checks need

demo: $(READY) ## run the real pipeline on a rendered street; leaves video, masks, picture, report in out/demo
	$(BIN)/maskstream demo --output out/demo --overwrite

test: $(READY_DEV) ## run the tests (no network, GPU, camera or broker needed)
	$(PYTEST) $(SIDE_BY_SIDE) -m "not servers and not faults and not gpu"

test-servers: $(READY_DEV) ## run the tests that need real servers (installs them with apt)
	tests/servers/install.sh
	FAIL_ON_SKIP=1 $(PYTEST) -m "servers and not faults"
	@# beside the Ray of no other test, as a process is on one at a time
	$(PYTEST) -m "servers and faults" $$(grep -l 'mark\.servers' tests/e2e/*.py)

test-faults: $(READY_DEV) ## the long fault runs; their figures go into docs/reliability.md
	tests/servers/install.sh
	@# each file in a process of its own, as a process is on one Ray at a time
	for file in $$(grep -rl 'mark\.faults' tests); do \
	    $(PYTEST) -m faults --timeout 900 -o faulthandler_timeout=930 $$file || failed=1; \
	done; exit $${failed:-0}

test-gpu: $(READY_DEV) ## tests that need a CUDA device; a missing device is a failure
	FAIL_WITHOUT_CUDA=1 $(PYTEST) -m gpu

check: lint type arch cover ## what CI checks: lint, types, the floors of architecture and coverage

lint: $(READY_DEV) ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(READY_DEV) ## mypy, strict
	$(BIN)/mypy -n 2

arch: $(READY_DEV) ## import-linter: a module imports only from the floors below
	$(BIN)/lint-imports

cover: $(READY_DEV) ## coverage of the rooms that every result goes through, by their own tests
	$(PYTEST) $(SIDE_BY_SIDE) -q -m "not servers and not faults and not gpu" --cov --cov-report=term \
	    tests/workers tests/pipeline/test_masks*.py tests/pipeline/delivery tests/pipeline/events \
	    tests/pipeline/plan tests/pipeline/runtime tests/pipeline/stream tests/pipeline/tracking

fmt: $(READY_DEV) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY_DEV) ## the benchmarks that take a few minutes on a laptop
	$(BIN)/python -m benchmarks.masks
	$(BIN)/python -m benchmarks.segment --quick
	$(BIN)/python -m benchmarks.tracking --quick
	$(BIN)/python -m benchmarks.outputs
	$(BIN)/python -m benchmarks.slow_sink

bench-gpu: $(READY_DEV) ## everything about a GPU, in 300 seconds; figures in out/gpu
	$(BIN)/python -m benchmarks.gpu

docs: $(READY) ## write the generated pages docs/configuration.md and docs/metrics.md anew
	$(BIN)/python docs/generate.py

clean: ## remove .venv and out
	rm -rf $(VENV) out
