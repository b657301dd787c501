PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
RUN    := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.PHONY: help setup train test test-all check release clean

help:            ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup: $(DEV)    ## create .venv and install msn-gan with the tools of its tests

# What training needs.
$(RUN): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "msn-gan needs Python 3.10 or later; set PYTHON=...")'
	@echo "Installing PyTorch and the other packages into $(VENV): 6 GB on disk, two to ten minutes."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

# What tests and checks need too.
$(DEV): $(RUN)
	@echo "Installing the tools of the tests into $(VENV)."
	$(PIP) --quiet -e '.[dev]'
	touch $@

train: $(RUN)    ## train the quickstart GAN on the built-in digits
	$(BIN)/python msn_gan.py train --preset quickstart $(ARGS)

test: setup      ## run the tests
	$(BIN)/python -m pytest -q -n 2 $(ARGS)

test-all: setup  ## run the tests and the slow proofs
	$(BIN)/python -m pytest -q -n 2 -m '' $(ARGS)

check: setup     ## lint and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

release: setup   ## build wheel, source archive and notes in dist/, and test them: docs/versions.md
	$(BIN)/python tools/release.py $(ARGS)

clean:           ## remove the environment and caches; runs are kept
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
