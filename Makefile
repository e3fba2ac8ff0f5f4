# Each target, alone, sets up what it needs: a virtual environment with pinned versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIN := requirements/pinned.txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(PIN)

.PHONY: demo test lint bench quality docs clean
.DEFAULT_GOAL := test

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# One stamp an extra: `make lint` does not install the test tools, and so on.
$(VENV)/.extra-%: pyproject.toml $(PIN) | $(VENV)/bin/python
	$(PIP) --editable '.[$*]'
	@touch $@

demo: $(VENV)/.extra-simulate $(VENV)/.extra-plot $(VENV)/.extra-asapo
	$(BIN)/braggstream demo

test: $(VENV)/.extra-test
	$(BIN)/python tests/warm_kernels.py
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadgroup

lint: $(VENV)/.extra-lint $(VENV)/.extra-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.extra-test
	$(BIN)/python -m benchmarks

quality: $(VENV)/.extra-test
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.quality.wrong_geometry
	$(BIN)/python -m benchmarks.quality.wrong_cells
	$(BIN)/python -m benchmarks.quality.bound
	$(BIN)/python -m benchmarks.quality.positions
	$(BIN)/python -m benchmarks.quality.frames

docs: $(VENV)/.extra-docs
	$(BIN)/sphinx-build --fail-on-warning --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) docs/_build build dist
