# Two commands do all on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV ?= .venv
TORCH = torch==2.13.0
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: help install quickstart ui stack test lint format docs lock clean bench bench-retrievers bench-large bench-scaling bench-gpu torture release

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(READY)  ## make .venv from the lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; set PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(READY)

quickstart: install  ## mine the docstrings of the installed packages: the whole pipeline on real text
	$(BIN)/hardmine quickstart

ui: install  ## a Prefect server with its pages, and all flows run from it (PORT=4200); Ctrl-C ends it
	$(BIN)/hardmine serve --port $(or $(PORT),4200)

stack: install  ## Postgres, S3, a Prefect server with its worker, Dask: docs/infra.md; Ctrl-C ends it
	$(BIN)/python -m infra.stack --folder $(or $(STACK),mining/stack)

test: install  ## all tests, no network, by two processes (WORKERS=2)
	$(BIN)/python -m pytest -m "not slow and not gpu" -n $(or $(WORKERS),2) --dist loadfile --no-loadscope-reorder \
		tests/e2e tests/torture tests tasks flows  # the longest first

bench: install  ## mining beside sentence-transformers' miner, then again with what is known (ROOT=folder); half an hour on two cores
	$(BIN)/python -m tests.bench.mining --root $(or $(ROOT),mining/bench-mining)

bench-retrievers: install  ## trained retrievers by their negatives (DATA=folder of collections, DATASET=banking77-thin or xquad-en); hours on a CPU
	$(BIN)/python -m tests.bench.retrievers $(or $(DATASET),banking77-thin) --data $(DATA) --root $(or $(ROOT),mining/bench) --teacher

bench-large: install  ## memory and seconds of mining a hundred thousand to a million documents (ROOT=folder); an hour on two cores
	$(BIN)/python -m tests.bench.large --root $(or $(ROOT),mining/bench-large)

bench-scaling: install  ## embedding and scoring by one Dask worker and by two, a core each (ROOT=folder); nothing else should run
	$(BIN)/python -m tests.bench.scaling --root $(or $(ROOT),mining/bench-scaling)

bench-gpu: install  ## encoding, scoring and search on a GPU beside sentence-transformers (ROOT=folder)
	$(BIN)/python -m tests.bench.gpu --root $(or $(ROOT),mining/bench-gpu)

torture: install  ## inject every fault of docs/reliability.md, and write its table (KILLS=200 random ones, FUZZ=200 inputs); hours on two cores
	HARDMINE_KILLS=$(or $(KILLS),200) HARDMINE_FUZZ=$(or $(FUZZ),200) $(BIN)/python -m pytest -m fault --fault-table docs/reliability.md tests

release: install  ## dist/: sdist, wheel, bill of materials (CycloneDX), audit of dependencies; its tools have an environment of their own
	test -x $(VENV)/release/bin/pip-audit || { $(PYTHON) -m venv $(VENV)/release && $(VENV)/release/bin/python -m pip install --quiet --disable-pip-version-check "build>=1.3,<2" "cyclonedx-bom>=7,<8" "pip-audit>=2.9,<3"; }
	$(BIN)/python -m infra.release --tools $(VENV)/release/bin --python $(BIN)/python

lint: install  ## style, types, architecture
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## mend style
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: install  ## write the reference pages from the code
	$(BIN)/python -m flows.reference

lock: install  ## write requirements.lock anew (torch stays out: it is pinned above)
	$(BIN)/pip-compile --quiet --upgrade --extra dev --unsafe-package torch --strip-extras --no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements.lock pyproject.toml

clean:  ## remove the environment and all that was mined in it
	rm -rf $(VENV) mining .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
