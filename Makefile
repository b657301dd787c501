PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help setup train test test-all check clean

help:            ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup: $(STAMP)  ## create .venv and install msn-gan with its tools

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "msn-gan needs Python 3.10 or later; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

train: setup     ## train the quickstart GAN on the built-in digits
	$(BIN)/python msn_gan.py train --preset quickstart $(ARGS)

test: setup      ## run the tests
	$(BIN)/python -m pytest -q -n 2 $(ARGS)

test-all: setup  ## run the tests and the slow proofs
	$(BIN)/python -m pytest -q -n 2 -m '' $(ARGS)

check: setup     ## lint and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:           ## remove the environment and caches; runs are kept
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
