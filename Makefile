# Everything a person types. Each set-up step is skipped when it is already done.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: run test test-consumers check format ui releases verify rollback prune compare why clean help \
	install home browser

PYTHON ?= python3
YEAR ?= 2022
PORT ?= 3000
BIN := .venv/bin
RELEASES = $(BIN)/python -m l0_pipeline.releases
# only where a year was asked for: the default is of builds
OF_YEAR := $(if $(filter file,$(origin YEAR)),,--year $(YEAR))
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# a build and its Dagster history lie below one folder
DATA := $(or $(L0_DATA_DIR),$(CURDIR)/data)
export L0_DATA_DIR := $(DATA)
export DAGSTER_HOME := $(DATA)/dagster_home
export VIRTUAL_ENV := $(CURDIR)/.venv
export DAGSTER_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# short log lines: the time, the step and its message; without what duckdb's bindings say of
# themselves when a process ends
TIDY := sed -u -E \
	-e 's/^See https:.*refleaks\.html//' \
	-e '/^(nanobind:| - leaked | - \.\.\. skipped)/d' -e '/^$$/d' \
	-e 's/^[0-9-]{10} ([0-9:]{8}) .0000 - dagster - INFO - [a-z_]+ - [0-9a-f-]{36} - /\1  /' \
	-e 's/^[0-9-]{10} ([0-9:]{8}) .0000 - dagster - WARNING - [a-z_]+ - [0-9a-f-]{36} - /\1  warning: /'

run: install home ## build the default release (YEAR=2022) and print how good it is
	@$(BIN)/dg launch --job rebuild --partition $(YEAR) 2>&1 | $(TIDY) | tee "$(DAGSTER_HOME)/run.log" \
		|| { echo; echo "What went wrong:"; \
			grep -E '(InputError|Failure): |check [a-z0-9_]+ failed: |validation error' \
				"$(DAGSTER_HOME)/run.log" | sort -u; exit 1; }
	@echo && $(RELEASES) summary --year $(YEAR)

test: install browser ## run the whole test suite
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

test-consumers: install .venv-policyengine/installed ## what is too heavy for the suite: PolicyEngine-US, S3
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,consumers]'
	@L0_POLICYENGINE_PYTHON=$(CURDIR)/.venv-policyengine/bin/python \
		$(BIN)/python -m pytest tests/consumers

check: install ## format, lint, types and import directions
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: install ## put the code into its format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

ui: install home ## the Dagster UI on http://127.0.0.1:3000 (PORT=...)
	@$(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p $(PORT)

releases: install ## list the releases
	@$(RELEASES) list $(OF_YEAR)

verify: install ## is the latest release (RELEASE=id) what was published? recomputes its estimates
	@$(RELEASES) verify $(RELEASE)

compare: install ## what changed from release OLD=id to NEW=id
	@$(RELEASES) compare $(OLD) $(NEW)

why: install ## why household HOUSEHOLD=id was kept, in the latest release
	@$(RELEASES) why $(HOUSEHOLD) $(if $(RELEASE),--release $(RELEASE))

rollback: install ## let latest name RELEASE=id again
	@$(RELEASES) rollback $(RELEASE)

prune: install ## remove all but the KEEP=n newest releases of each year
	@$(RELEASES) prune --keep $(KEEP) $(OF_YEAR)

# only what lies in this checkout, wherever the environment points
clean: ## remove everything that builds wrote below data/, releases too; figures stay
	@[ ! -d data/releases ] || chmod -R u+w data/releases
	@rm -rf data/raw data/tables data/arrays data/checkpoints data/releases data/warehouse.duckdb*
	@find data/dagster_home -mindepth 1 ! -name dagster.yaml -delete
	@rm -rf .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .tmp_dagster_home_*

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

install: .venv/installed

home:
	@mkdir -p "$(DAGSTER_HOME)"
	@[ -e "$(DAGSTER_HOME)/dagster.yaml" ] || cp data/dagster_home/dagster.yaml "$(DAGSTER_HOME)"

# PolicyEngine-US needs other versions than ours: an environment of its own
.venv-policyengine/installed: constraints-policyengine.txt
	@echo "Installing PolicyEngine-US into .venv-policyengine (about 2 GB) ..."
	@[ -x .venv-policyengine/bin/python ] || $(PYTHON) -m venv .venv-policyengine
	@.venv-policyengine/bin/python -m pip install --quiet --constraint $< torch policyengine-us
	@touch $@

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
