# Every target installs its prerequisites; `make help` lists the targets.
include k8s/versions.env
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SAMPLES := $(CURDIR)/pipeline-image/samples

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s '|'

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "Slipway needs Python 3.11 or newer: apt install python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old. Slipway needs Python 3.11 or newer: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then echo "Installing python3-venv"; apt-get install -y -qq python3-venv >/dev/null; \
	  else echo "Python's venv module is missing: apt install python3-venv"; exit 1; fi; }
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing from requirements.lock"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "Installing from requirements-dev.lock"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@ $(VENV)/.run

.PHONY: run
run: $(VENV)/.run ## Launch one run of the bundled pipeline for a sample posting; show its log and artifacts
	@$(BIN)/slipway-launcher demo

.PHONY: serve
serve: export SLIPWAY_ENV ?= development
serve: export POSTINGS_DIR ?= $(SAMPLES)/postings
serve: export MASTER_CV ?= $(SAMPLES)/master-cv.md
serve: $(VENV)/.run ## Serve launcher and pages with the sample postings; print the address to open
	@exec $(BIN)/python -m frontend --with-launcher

$(VENV)/.docs: requirements-docs.lock $(VENV)/.dev
	@echo "Installing from requirements-docs.lock"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-docs.lock
	@touch $@

.PHONY: docs
docs: $(VENV)/.docs ## Build the documentation into docs/_build/html; a broken link fails it
	@PYTHONPATH=operator $(BIN)/sphinx-build --fresh-env --fail-on-warning --keep-going --quiet docs docs/_build/html

.PHONY: check
check: lint docs ## Run all checks that need no server: lint, types, import rules, documentation, unit tests
	@$(BIN)/pytest -q tests/unit

.PHONY: lint
lint: $(VENV)/.dev ## Lint, types, import rules, phrases
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@if git grep -nIiw -f tests/phrases.txt -- ':!tests/phrases.txt' ':!*.lock' ':!**/vendor/**'; then \
	  echo "Say this in plain English: tests/phrases.txt lists the phrases above"; exit 1; fi

.PHONY: servers
servers: $(VENV)/.dev ## Install the real servers and the browser that the tests use
	@PATH="$(CURDIR)/$(BIN):$$PATH" tests/support/servers/install

# CLUSTER=none skips tests that need Kubernetes, for machines that cannot run it: no root, no Linux.
.PHONY: cluster
cluster: ## Install Kubernetes for the tests
ifneq ($(CLUSTER),none)
	@tests/support/cluster/install >/dev/null
endif

.PHONY: cluster-up
cluster-up: ## Start the tests' Kubernetes, and keep it running between tests
	@tests/support/cluster/up

.PHONY: cluster-down
cluster-down: ## Stop the tests' Kubernetes
	@tests/support/cluster/down

.PHONY: test
test: lint docs ## Run all tests
	@rm -f .coverage .coverage.*
	@tests/all
	@$(BIN)/coverage combine -q && $(BIN)/coverage report --fail-under=$(if $(filter none,$(CLUSTER)),80,90)
ifeq ($(CLUSTER),none)
	@echo "CLUSTER=none: tests that need Kubernetes were skipped."
endif

.PHONY: golden
golden: $(VENV)/.dev ## Rewrite the documents that the tests compare the samples with; review the diff before you commit it
	@RENEW_GOLDEN=1 $(BIN)/pytest -q tests/unit/pipeline/test_pipeline_golden.py

.PHONY: manifests
manifests: $(VENV)/.dev ## Regenerate the chart's schema, README, plain manifests, and the tests' copy
	@$(BIN)/python tests/chart/schema.py
	@PATH=$$(tests/support/chart/install):$$PATH && helm-docs --chart-search-root charts --log-level warning && mkdir -p k8s/rendered \
	  && helm template slipway charts/slipway --namespace slipway --no-hooks > k8s/rendered/slipway.yaml \
	  && helm template slipway charts/slipway --namespace slipway --values tests/chart/everything.yaml > tests/chart/everything.rendered.yaml

.PHONY: rules
rules: ## Copy the settings' rules to frontend/, the only folder that Vercel deploys
	@rm -rf frontend/setting_rules && mkdir frontend/setting_rules && cp launcher/domain/setting_rules/*.py frontend/setting_rules/

.PHONY: chart
chart: $(VENV)/.dev ## Test the chart without a cluster
	@$(BIN)/pytest -q tests/chart

.PHONY: scripts
scripts: $(VENV)/.dev ## Test the scripts in k8s/ and the workflows without a server
	@$(BIN)/pytest -q tests/deploy

# Wherever kubectl and helm can access the cluster. Default: NAMESPACE=slipway; more options: ARGS="--image-tag …".
.PHONY: deploy
deploy: ## Install or upgrade Slipway in the cluster: make deploy [CONFIG=FOLDER] [ARGS="…"]
	@k8s/install.sh $(if $(CONFIG),--config "$(CONFIG)") $(ARGS)

.PHONY: config
config: ## Apply a changed .env, master-cv.md or credentials/: make config CONFIG=FOLDER
	@k8s/config.py "$(or $(CONFIG),$(error Set CONFIG to the folder with .env and master-cv.md))"

.PHONY: drain
drain: ## Pause the queue and wait until no run is active
	@k8s/drain.sh $(ARGS)

.PHONY: resume
resume: ## Resume the queue
	@k8s/resume.sh

.PHONY: bench
bench: $(VENV)/.dev servers cluster ## Measure speed against plain kubectl: make bench ROWS="first-line lines"
	@PYTHONPATH=.:operator:tests/support $(BIN)/python -m tests.bench $(ROWS)

.PHONY: screenshots
screenshots: $(VENV)/.dev servers ## Take pictures of each page into docs/screenshots: light, dark, and phone
	@PYTHONPATH=.:tests/support $(BIN)/python -m tests.screenshots

COMPILE = $(BIN)/uv pip compile --quiet $(UPGRADE) --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
# The requirements in one list of pyproject.toml, one a line.
requirements = $(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))$(1), sep="\n")'

.PHONY: lock
lock: $(VENV)/.dev ## Lock the dependencies with hashes: all, for development, and for each image
	@$(COMPILE) --all-extras pyproject.toml -o requirements.lock
	@$(COMPILE) --all-extras --group dev --constraint requirements.lock pyproject.toml -o requirements-dev.lock
	@$(COMPILE) --group docs --constraint requirements-dev.lock -o requirements-docs.lock
	@$(COMPILE) --extra launcher --extra operator --constraint requirements.lock pyproject.toml -o requirements-launcher.lock
	@$(call requirements,["project"]["optional-dependencies"]["pipeline"]) \
	  | $(COMPILE) --constraint requirements.lock - -o requirements-pipeline.lock
	@$(call requirements,["project"]["optional-dependencies"]["frontend"]) \
	  | $(COMPILE) --constraint requirements.lock - -o frontend/requirements.txt
	@$(call requirements,["build-system"]["requires"]) | $(COMPILE) - -o requirements-build.lock

.PHONY: upgrade
upgrade: UPGRADE := --upgrade
upgrade: lock ## Lock the newest version of each dependency

.PHONY: clean
clean: ## Remove the environment, and the files of runs and builds
	@rm -rf $(VENV) var applications build dist docs/_build docs/reference/generated .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
