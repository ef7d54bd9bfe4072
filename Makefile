# Everything that a developer or CI runs. `make` alone lists it.

SHELL := /bin/bash
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help venv tools test test-quick lint format demo bench bench-pair mutants lock build clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(READY) ## make .venv with the locked packages and the project itself
	@:

$(READY): requirements.lock pyproject.toml
	@.ci/setup venv

tools: ## install the programs that the tests use (tests/servers.txt)
	@.ci/setup tools

test: venv tools lint ## check and test everything
	@$(BIN)/python -m pytest -n auto --dist worksteal

test-quick: venv ## run the tests that take no more than a few seconds each
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

lint: venv ## check style, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: venv ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

demo: venv tools ## carry two releases of a real package over a gap on this machine
	@$(BIN)/python tests/demo/demo.py

bench: venv tools ## measure speed, size and memory against other tools (takes a while)
	@$(BIN)/python tests/bench/run.py $(ARGS)

bench-pair: venv tools ## measure what crosses between any two folders (OLD=… NEW=…)
	@$(BIN)/python tests/bench/pair.py $(OLD) $(NEW) $(ARGS)

mutants: ## measure what the tests of the trust code do not notice (takes an hour and more; not in CI)
	@.ci/setup mutants
	@build/mutants/bin/mutmut run $(ARGS)
	@build/mutants/bin/mutmut results

lock: ## write requirements.lock anew from pyproject.toml (ARGS=--upgrade for newer versions)
	@.ci/setup lock $(ARGS)

build: venv ## build the wheel into dist/
	@$(BIN)/python -m hatchling build -t wheel

clean: ## remove all that these targets made, downloads included
	rm -rf .venv build dist mutants .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
