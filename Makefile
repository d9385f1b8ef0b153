# `make demo` and `make test` each do all of their set-up on a machine that has only Python and make.
PYTHON ?= python3
BIN := .venv/bin

# Every release between the oldest and the newest client, the last patch of each.
BETWEEN := 0.44.1 0.45.1 0.46.1 0.47.0 0.48.0 0.49.0 0.50.0

.PHONY: demo test test-clients check setup clean

demo: .venv/ready
	$(BIN)/queuebit demo

test: .venv/ready .venv-oldest/ready
	scripts/test

# What users do, with every release of the client; `make test` does it with the newest and the oldest.
test-clients: setup $(BETWEEN:%=.venv-client-%/ready)
	scripts/test tests/acceptance --clients all

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

# Finds Qiskit and all else that it shares with the oldest client there: seconds and 50 MB, not 360.
.venv-client-%/ready: .venv-oldest/ready
	$(PYTHON) -m venv .venv-client-$*
	realpath .venv-oldest/lib/python*/site-packages > \
		"$$(echo .venv-client-$*/lib/python*/site-packages)/shared.pth"
	.venv-client-$*/bin/python -m pip install --quiet --disable-pip-version-check \
		"qiskit-ibm-runtime==$*"
	touch $@

clean:
	rm -rf .venv .venv-*
