# `make` lists what can be made. Everything is set up in .venv from nothing, and can be repeated.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test check bench clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.core  ## build a small dataset and its picture report in demo/
	$(BIN)/mmtt demo demo --workers $(WORKERS)

test: check  ## check, then run every test
	$(BIN)/python -m pytest

check: $(VENV)/.dev  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev  ## measure (never a test): manipulators, forge pass, workers, alignment, memory, learned programs
	PYTHONPATH=tests/support $(BIN)/python -m tests.bench

clean:  ## remove what was set up
	rm -rf $(VENV) demo

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "No venv: on Debian, apt-get install python3-venv"; exit 1; }
	@touch $@

# MediaPipe's metadata forbids versions that its code accepts, hence --no-deps.
$(VENV)/.core: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) -e '.[mediapipe]'
	$(PIP) --no-deps mediapipe==0.10.21
	@touch $@

# The face libraries bring OpenCV's build with windows, whose files lie over the headless one: it comes last again.
$(VENV)/.dev: $(VENV)/.core
	$(PIP) -e '.[mediapipe,insightface,facexlib,onnx,diffusion,annotation,translation,baselines,meteor,demo,hub,c2pa,dev]'
	$(PIP) --no-deps --force-reinstall opencv-python-headless
	@touch $@
