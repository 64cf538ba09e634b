# Everything a person types. Each set-up step is skipped when it is already done.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: run test check format ui clean help install browser

PYTHON ?= python3
YEAR ?= 2022
PORT ?= 3000
BIN := .venv/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

export VIRTUAL_ENV := $(CURDIR)/.venv
export DAGSTER_HOME ?= $(CURDIR)/data/dagster_home
export L0_DATA_DIR ?= $(CURDIR)/data
export DAGSTER_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# short log lines: the time, the step and its message; without what duckdb's bindings say of
# themselves when a process ends
TIDY := sed -u -E \
	-e 's/^See https:.*refleaks\.html//' \
	-e '/^(nanobind:| - leaked | - \.\.\. skipped)/d' -e '/^$$/d' \
	-e 's/^[0-9-]{10} ([0-9:]{8}) .0000 - dagster - INFO - [a-z_]+ - [0-9a-f-]{36} - /\1  /'

run: install ## build the default release (YEAR=2022) and print how good it is
	@$(BIN)/dg launch --job rebuild --partition $(YEAR) 2>&1 | $(TIDY)
	@echo && cat $(L0_DATA_DIR)/releases/latest-$(YEAR)/summary.txt

test: install browser ## run the whole test suite
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

check: install ## format, lint, types and import directions
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: install ## put the code into its format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

ui: install ## the Dagster UI on http://127.0.0.1:3000 (PORT=...)
	@$(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p $(PORT)

clean: ## remove everything a build wrote, releases too; figures stay
	@[ ! -d $(L0_DATA_DIR)/releases ] || chmod -R u+w $(L0_DATA_DIR)/releases
	@rm -rf $(addprefix $(L0_DATA_DIR)/,raw tables arrays releases warehouse.duckdb warehouse.duckdb.wal)
	@find $(DAGSTER_HOME) -mindepth 1 -not -name dagster.yaml -delete 2>/dev/null || true
	@rm -rf .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .tmp_dagster_home_* *.egg-info

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11: make PYTHON=python3.11 ..."; exit 1; }
	@echo "Installing into .venv (about 2.5 GB, two minutes) ..."
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# the UI is tested in a real browser
browser:
	@command -v chromium > /dev/null || { \
		echo "Installing Debian's chromium for the tests of the UI ..."; \
		$(SUDO) apt-get update -qq && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends chromium > /dev/null; }
