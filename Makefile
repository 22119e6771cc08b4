# make demo   train the embedded model on drawn screens and write the report (README, "Try it")
# make test   formatting, lints, types and every test
# make lint   the first three of these
#
# Each builds .venv first, once. Needs Python 3.11 or newer and make: PYTHON=python3.12 names another interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BROWSER := $(shell command -v chromium chromium-browser google-chrome | head -1)
TORCH := $(shell grep '^torch==' constraints.txt)
TORCHVISION := $(shell grep '^torchvision==' constraints.txt)

.PHONY: demo test lint

demo: $(INSTALLED)
	@run=runs/demo; n=2; while [ -e $$run ]; do run=runs/demo-$$n; n=$$((n + 1)); done; \
	$(BIN)/vlmrl train --task gui_grounding --run $$run

test: lint
	@test -n "$(BROWSER)" || echo "no chromium here: pages are not tested in a browser (apt-get install chromium)"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(if $(BROWSER),,-m "not browser")

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# torch comes first and alone, and torchvision without dependencies, so that whichever build of torch the package index
# serves (CPU or CUDA) is not replaced by the one that torchvision would pull in.
$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) not found: install Python 3.11 or newer, or name it: make $(MAKECMDGOALS) PYTHON=..."; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "vlmrl needs Python 3.11 or newer and $(PYTHON) is $$($(PYTHON) -V 2>&1): name a newer one, e.g. make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "pip>=23.1"
	$(BIN)/python -m pip install $(TORCH)
	$(BIN)/python -m pip install --no-deps $(TORCHVISION)
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[dev]"
	@touch $@
