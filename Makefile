# Everything a user or a developer runs. `make help` lists it.

# Set on the command line. The environment does not count: some shells export HOST.
PYTHON := python3
DIR :=
PORT := 8080
HOST := 127.0.0.1
ARGS :=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# The lock is made for the oldest Python; its markers make it right for all newer ones.
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --quiet \
  --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'
CODE := eventlog projections watcher api tools tests

.DEFAULT_GOAL := help
.PHONY: help install serve test lint format bench soak lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## leave .venv/bin/nasfeed

serve: dir-given $(VENV)/.installed ## serve a directory: make serve DIR=/some/dir [PORT=8080] [HOST=127.0.0.1]
	@exec $(BIN)/nasfeed serve --host "$(HOST)" --port "$(PORT)" $(ARGS) -- "$(DIR)"

# In the order of the folders: the few tests that take longest do not come last, on one core.
test: $(VENV)/.installed-dev ## run the tests: make test [ARGS="-k name"]
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
	  --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.installed-dev ## style, types and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## put the code in order
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## measure beside the nearest peers: make bench [ARGS=…]
	$(BIN)/python -m tools.bench $(ARGS)

soak: $(VENV)/.installed-dev ## thousands of random histories: make soak [ARGS="FIRST LAST"]
	$(BIN)/python -m tests.convergence.soak $(ARGS)

lock: ## renew the locked versions and hashes; needs uv
	$(LOCK) --group build -o .requirements.lock pyproject.toml
	$(LOCK) --group build --group dev -c .requirements.lock -o .requirements-dev.lock pyproject.toml
	$(LOCK) --group build --extra mount -c .requirements.lock -o .requirements-mount.lock pyproject.toml

clean: ## remove everything that make made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: dir-given
dir-given:
	@test -n "$(DIR)" || { echo 'Say which directory: make serve DIR=/some/dir' >&2; exit 2; }

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'nasfeed needs Python 3.11 or newer: make PYTHON=python3.12 …' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "this Python cannot make environments; run: apt-get install -y python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Editable, so that a checkout always runs what it holds: after `git pull` there is nothing to do
# unless the lock changed, and then make notices. Nothing is fetched that the lock does not name.
$(VENV)/.installed: .requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r .requirements.lock
	$(PIP) --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.installed-dev: .requirements-dev.lock .requirements-filetracker.lock \
  .requirements-mount.lock $(VENV)/.installed
	$(PIP) --require-hashes -r .requirements-dev.lock
	$(PIP) --require-hashes --no-deps --no-build-isolation --upgrade \
	  --target $(VENV)/filetracker-client -r .requirements-filetracker.lock
	@pkg-config --exists fuse3 && \
	  $(PIP) --require-hashes --no-build-isolation -r .requirements-mount.lock || echo \
	  'pyfuse3 needs libfuse3-dev, pkg-config and a compiler: without it tests of mounts are skipped'
	@touch $@
