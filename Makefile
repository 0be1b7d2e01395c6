# make demo    compress a real model, run it compressed, print sizes and agreement
# make test    run the tests
# make bench   measure sizes, speed and accuracy (minutes; see tests/benchmarks/)
# make vectors write spec/vectors anew
# Each sets up what it needs in .venv.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test bench bench-accuracy vectors clean

test: $(VENV)/.test
	$(BIN)/python -m pytest

demo: $(VENV)/.demo
	$(BIN)/python examples/01_compress_magika.py

bench: $(VENV)/.bench
	$(BIN)/python tests/benchmarks/run.py

bench-accuracy: $(VENV)/.bench
	$(BIN)/python tests/benchmarks/agreement.py

vectors: $(VENV)/.test
	$(BIN)/python spec/make_vectors.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.test: setup.cfg pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[test]'
	touch $@

$(VENV)/.demo: setup.cfg pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[demo]'
	touch $@

$(VENV)/.bench: setup.cfg pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache
