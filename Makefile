# UGS-Failover. `make rehearsal` is the main job, `make test` runs every test; both set up first.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' payload/__init__.py)
PYTHON := .venv/bin/python
ISO := build/ugs-failover-$(VERSION)-amd64.iso

# What the build, the rehearsal and the tests need on a Debian 12 machine.
PACKAGES := $(shell sed 's/\#.*//' .ci/packages)

.PHONY: help setup iso rehearsal soak test test-boot check docs bench clean

help:
	@echo "make rehearsal   build the ISO, copy one virtual machine to another, boot the copy, report"
	@echo "make test        every test, a rehearsal and two cases of the matrix included"
	@echo "make test-boot   every kind of server copied and its copy booted: the matrix of docs/compatibility.md"
	@echo "                 (about two hours; CASE=n for one of them)"
	@echo "make check       lint, types, layers, unit tests (under a minute)"
	@echo "make iso         only the ISO: $(ISO)"
	@echo "                 and build/pxe for a boot server"
	@echo "                 (boot_proof=0: without QEMU on it, which starts each copy once)"
	@echo "make docs        print the reference pages in docs/ from the code"
	@echo "make soak        machines killed in the middle of many copies: RUNS=60 SEED=1"
	@echo "make bench       speed, side by side with the peer tools"
	@echo "make clean       remove build/"

setup: build/.packages .venv/.ready

# The lists are fetched even where no package is missing: the ISO and the test servers are made from
# the archives apt knows, and apt knows an archive only when it holds its lists.
build/.packages: .ci/packages
	@mkdir -p build
	apt-get update -q -o Acquire::Retries=3
	@missing=$$(dpkg-query -W -f '$${Package} $${Status}\n' $(PACKAGES) 2>&1 | \
		sed -n 's/^dpkg-query: no packages found matching //p; /install ok installed/!s/^\([a-z0-9.+-]*\) [a-z]* .*/\1/p'); \
	if [ -n "$$missing" ]; then \
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y -o Acquire::Retries=3 \
		--no-install-recommends $$missing; fi
	@touch $@

.venv/.ready: requirements-dev.lock pyproject.toml | build/.packages
	@test -x $(PYTHON) || python3 -m venv .venv
	$(PYTHON) -m pip install -q --require-hashes -r requirements-dev.lock
	$(PYTHON) -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

iso: setup
	live-build/build --output $(ISO) --network build/pxe $(if $(filter 0 no off,$(boot_proof)),--no-boot-proof)

rehearsal: setup iso
	$(PYTHON) -m tests.vm.rehearse --iso $(ISO) --output build/rehearsal \
		$(if $(SOURCE),--source $(SOURCE)) $(if $(FIRMWARE),--firmware $(FIRMWARE))

check: setup
	.venv/bin/ruff check payload tests
	.venv/bin/ruff format --check payload tests
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache
	$(PYTHON) -m pytest -q -n auto tests/unit

# An emulated machine keeps one processor busy: tests that start one run two at a time.
test: setup iso
	.venv/bin/ruff check payload tests
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache
	$(PYTHON) -m pytest -q -n 3 --dist loadgroup tests/unit tests/integration
	$(PYTHON) -m pytest -n 2 --dist loadfile --durations=12 -m "not pair" tests/vm
	$(PYTHON) -m pytest --durations=12 -m pair tests/vm

test-boot: setup iso
	$(PYTHON) -m tests.vm.matrix --iso $(ISO) --output build/boot-matrix $(if $(CASE),--case $(CASE))

docs: setup
	$(PYTHON) -m payload docs docs

soak: setup
	$(PYTHON) -m tests.integration.faults --runs $(or $(RUNS),60) --seed $(or $(SEED),$(shell date +%s))

bench: setup
	$(PYTHON) -m tests.bench --output build/bench/bench.json

clean:
	rm -rf build
