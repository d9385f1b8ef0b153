# `make demo` and `make test` each do all of their set-up on a machine that has only Python and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check setup clean

demo: .venv/ready
	$(BIN)/queuebit demo

test: .venv/ready
	scripts/test

check: .venv/ready
	scripts/check

setup: .venv/ready

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	touch $@

clean:
	rm -rf .venv .venv-*
