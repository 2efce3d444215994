# Everything runs in its own virtual environment below this directory; nothing is installed elsewhere.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TESTS  ?= tests
JOBS   ?= 2

.PHONY: help demo test check format mutants soak bench clean

help:
	@echo "make demo    the main job, on the embedded engine: producers and consumers pass files by ticket"
	@echo "make test    the test suite, on real servers as far as they are installed"
	@echo "make check   lint, types, import layers"
	@echo "make mutants deliberate bugs, and which test catches each"
	@echo "make soak    the state machine and the kill cycles, a hundred times as long, and all schedules: hours"
	@echo "make bench   speed next to bare redis-py and to peers"

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

demo: $(VENV)/demo
	$(BIN)/coatcheck demo $(ARGS)

test: $(VENV)/dev
	$(BIN)/python -m pytest -q -n $(JOBS) $(TESTS)

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv-bench/ready: pyproject.toml benchmarks/requirements.txt benchmarks/requirements-bare.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -e '.[embedded]' -r benchmarks/requirements.txt
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/requirements-bare.txt
	@touch $@

mutants: $(VENV)/dev
	$(BIN)/python -m tests.mutants $(ARGS)

soak: $(VENV)/dev
	COATCHECK_EXAMPLES=20000 COATCHECK_KILLS=200 COATCHECK_SCHEDULES=large $(BIN)/python -m pytest -q -s -n $(JOBS) \
		tests/machine tests/redis/test_kills.py tests/redis/test_split_interleavings.py

bench: .venv-bench/ready
	.venv-bench/bin/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) .venv-bench build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
