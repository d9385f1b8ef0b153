# `make demo` and `make test` each do all of their set-up on a machine that has only Python and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check setup clean

demo: .venv/ready
	$(BIN)/queuebit demo

test: .venv/ready .venv-oldest/ready
	scripts/test

check: .venv/ready
	scripts/check

setup: .venv/ready .venv-oldest/ready

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	touch $@

# The oldest client that we promise to serve, in an environment of its own.
.venv-oldest/ready: Makefile
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check \
		"qiskit-ibm-runtime==0.43.1" "qiskit>=2.3,<2.7"
	touch $@

clean:
	rm -rf .venv .venv-*
