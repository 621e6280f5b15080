# UGS-Failover. `make rehearsal` is the main job, `make check` and `make test` judge a change; all set up first.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' payload/__init__.py)
PYTHON := .venv/bin/python
ISO := build/ugs-failover-$(VERSION)-amd64.iso

# kvm or tcg: how virtual machines run; unless given, KVM where it starts a kernel.
export ACCEL

# What the build, the rehearsal and the tests need on a Debian 12 machine.
PACKAGES := $(shell sed 's/\#.*//' .ci/packages)

LINTERS := lint-code lint-format lint-types lint-layers lint-shell lint-spelling

.PHONY: help setup iso rehearsal lint $(LINTERS) check quick-unit-tests test test-integration \
	test-vm test-boot soak mutate release-check docs bench clean

help:
	@echo "make rehearsal      build the ISO, copy one virtual machine to another, boot the copy, report"
	@echo "                    (SOURCE=, FIRMWARE=)"
	@echo "make iso            only the ISO: $(ISO)"
	@echo "                    and build/pxe for a boot server"
	@echo "                    (boot_proof=0: without QEMU on it, which starts each copy once)"
	@echo
	@echo "make check          45 seconds  each save: lint, types, layers, spelling, quick unit tests"
	@echo "make test           25 minutes  each change: all of check, thoroughly; whole copies; one"
	@echo "                                rehearsal and one other case of the boot matrix"
	@echo "make test-vm        40 minutes  each release: every test with virtual machines"
	@echo "make test-boot      2 hours     each release: every kind of server copied and its copy booted,"
	@echo "                                the matrix of docs/compatibility.md (CASE=n for one of them)"
	@echo "make soak           RUNS=60     each release: machines killed in the middle of many copies"
	@echo "                                (SEED=1)"
	@echo "make mutate         5 minutes   each release: each condition of the rule about overwriting"
	@echo "                                removed, one at a time; a unit test has to fail (ONLY=module)"
	@echo "make release-check  5 hours     all of these that did not pass yet for exactly these inputs;"
	@echo "                                verdicts in build/release.json"
	@echo "pytest              unit tests only; the others when they are named"
	@echo
	@echo "make docs           print the reference pages in docs/ from the code"
	@echo "make bench          speed, side by side with the peer tools"
	@echo "make clean          remove build/"

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
		$(if $(SOURCE),--source $(SOURCE)) $(if $(FIRMWARE),--firmware $(FIRMWARE)) \
		$(if $(filter 1 yes on,$(PROOF)),--proof)

# Each tool's output is printed in one piece when it ended.
SIDE_BY_SIDE = @$(MAKE) --no-print-directory --jobs --keep-going --output-sync=target

lint: setup
	$(SIDE_BY_SIDE) $(LINTERS)

lint-code:
	.venv/bin/ruff check

lint-format:
	.venv/bin/ruff format --check

lint-types:
	.venv/bin/mypy

lint-layers:
	.venv/bin/lint-imports --no-cache --no-logo

# Whatever begins as a shell script does, wherever it lies, tracked or still new. SC1091: what our
# scripts source belongs to the system they run in.
lint-shell:
	git grep --untracked -zIlE '^#!.*sh' | xargs -0 awk 'FNR == 1 && /^#!.*[\/ ](ba|da)?sh( |$$)/ {print FILENAME}' \
		| xargs -d '\n' .venv/bin/shellcheck --exclude=SC1091

lint-spelling:
	git grep --untracked -zIl '' -- ':!requirements*.lock' ':!tests/fixtures' | xargs -0 .venv/bin/codespell

# Root's unit tests run as an ordinary user who owns the checkout: in a user namespace, where root's
# files belong to user 1000 and nobody has root's rights.
ORDINARY := $(if $(filter 0,$(shell id -u)),unshare --user --map-user=1000 --map-group=1000 --)
PYTEST := $(PYTHON) -m pytest --durations=10

# mypy keeps one processor busy for long: the tests do not wait for it.
check: setup
	$(SIDE_BY_SIDE) $(LINTERS) quick-unit-tests

quick-unit-tests:
	$(ORDINARY) $(PYTEST) -q -n auto --hypothesis-profile=quick tests/unit

test: lint iso
	$(ORDINARY) $(PYTEST) -n auto --hypothesis-profile=thorough tests/unit
	$(MAKE) --no-print-directory test-integration
	$(PYTEST) tests/vm/test_rehearsal.py 'tests/vm/test_matrix.py::test_the_copy_boots_and_is_the_server[2]'

test-integration: setup
	$(PYTEST) -n 3 --dist loadgroup -m "not waits" tests/integration
	$(PYTEST) -n 8 -m waits tests/integration

# An emulated machine keeps one processor busy: tests that start one run two at a time.
test-vm: setup iso
	$(PYTEST) -n 2 --dist loadfile -m "not pair" tests/vm
	$(PYTEST) -m pair tests/vm

test-boot: setup iso
	$(PYTHON) -m tests.vm.matrix --iso $(ISO) --output build/boot-matrix $(if $(CASE),--case $(CASE))

docs: setup
	$(PYTHON) -m payload docs docs

soak: setup
	$(PYTHON) -m tests.soak --runs $(or $(RUNS),60) --seed $(or $(SEED),$(shell date +%s))

mutate: setup
	$(ORDINARY) $(PYTHON) -m tests.mutate $(if $(ONLY),--only $(ONLY))

release-check: setup iso
	$(PYTHON) -m tests.release --iso $(ISO)

bench: setup
	$(PYTHON) -m tests.bench --output build/bench/bench.json

clean:
	rm -rf build
