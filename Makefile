# Everything runs in its own virtual environment below this directory; nothing is installed elsewhere.
PYTHON ?= python3
# Another Python, as in `make test PYTHON=python3.13`, has an environment of its own.
VENV   ?= .venv$(if $(filter command environment,$(origin PYTHON)),-$(notdir $(PYTHON)))
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TESTS  ?= tests
JOBS   ?= 3

.PHONY: help demo demo-clean test coverage integrations ui docs check format mutants soak bench dist clean

help:
	@echo "make demo         the main job, on the embedded engine: producers and consumers pass files by ticket;"
	@echo "                  leaves a store in build/demo to look at, which make demo-clean removes"
	@echo "make test         the test suite, on real servers as far as they are installed; TESTS=tests/unit, JOBS=1"
	@echo "make coverage     what the test suite runs of the code, line by line, in build/coverage"
	@echo "make integrations each ecosystem's own tests, in an environment of its own; ONLY='proxystore' runs these"
	@echo "make ui           the page in a real Chromium; its pictures go to build/ui"
	@echo "make docs         the site of the documentation, into build/site"
	@echo "make check        lint, types, import layers"
	@echo "make format       what of check can be put right"
	@echo "make mutants      deliberate bugs, and which test catches each"
	@echo "make soak         everything random, a hundred rounds: hours; less with ARGS='--rounds 3' or ARGS='--minutes 30'"
	@echo "make bench        speed next to bare redis-py and to peers"
	@echo "make dist         sdist, wheel and a list of what the wheel brings along: docs/releasing.md"
	@echo "make clean        remove all that was made here, environments included"

$(VENV)/demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[all]'
	@touch $@

# AbstractRuntime without its dependencies: only its artifact store is read, to prove that directories are exchangeable.
$(VENV)/dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps 'abstractruntime>=0.13,<0.14'
	@touch $@ $(VENV)/demo

DEMO := build/demo

demo: $(VENV)/demo demo-clean
	@$(BIN)/python examples/demo.py --keep $(DEMO) $(ARGS)
	@echo "  make demo-clean"

demo-clean:
	@rm -rf $(DEMO)

test: $(VENV)/dev
	$(BIN)/python -m pytest -q -n $(JOBS) $(TESTS)

coverage: $(VENV)/dev
	$(BIN)/python -m pytest -q -n $(JOBS) --cov --cov-report term --cov-report html:build/coverage $(TESTS)

ONLY ?= $(patsubst tests/integrations/%/requirements.txt,%,$(wildcard tests/integrations/*/requirements.txt))

.venv-integrations/%/ready: tests/integrations/requirements.txt tests/integrations/%/requirements.txt pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[embedded,testing]' \
	  -r tests/integrations/requirements.txt -r tests/integrations/$*/requirements.txt
	set -e; for list in $(wildcard tests/integrations/$*/alone.txt); do \
	  $(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $$list; done
	@touch $@

integrations: $(ONLY:%=.venv-integrations/%/ready)
	set -e; for name in $(ONLY); do \
	  .venv-integrations/$$name/bin/python -m pytest -q tests/integrations/test_every.py tests/integrations/$$name $(ARGS); done

.venv-ui/ready: pyproject.toml tests/browser/requirements.txt
	$(PYTHON) -m venv .venv-ui
	.venv-ui/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -r tests/browser/requirements.txt
	@touch $@

ui: .venv-ui/ready
	.venv-ui/bin/python -m pytest -q -n 0 tests/browser $(ARGS)

.venv-docs/ready: pyproject.toml tools/requirements.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check -e '.[cli,testing]' -r tools/requirements.txt
	@touch $@

docs: .venv-docs/ready
	.venv-docs/bin/python tools/build_docs.py

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.lint_lua

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv-bench/ready: pyproject.toml benchmarks/requirements.txt benchmarks/requirements-bare.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -e '.[embedded,testing]' -r benchmarks/requirements.txt
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/requirements-bare.txt
	@touch $@

mutants: $(VENV)/dev
	$(BIN)/python -m tests.mutants $(ARGS)

soak: $(VENV)/dev
	$(BIN)/python -m tests.soak -n $(JOBS) $(ARGS)

bench: .venv-bench/ready
	.venv-bench/bin/python -m benchmarks $(ARGS)

.venv-dist/ready:
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/python -m pip install --quiet --disable-pip-version-check build 'cyclonedx-bom>=7' twine
	@touch $@

dist: .venv-dist/ready
	rm -rf dist build/sbom
	.venv-dist/bin/python -m build
	.venv-dist/bin/python -m twine check --strict dist/*
	$(PYTHON) -m venv --without-pip build/sbom
	.venv-dist/bin/python -m pip --python build/sbom/bin/python install --quiet "$$(ls $(CURDIR)/dist/*.whl)[all]"
	.venv-dist/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
	  --output-file build/sbom.cdx.json build/sbom/bin/python

clean:
	rm -rf $(VENV) .venv-bench .venv-dist .venv-docs .venv-ui .venv-integrations build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .cache
