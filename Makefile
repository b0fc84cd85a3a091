# Everything is set up on first use, in .venv and .cache of this checkout. Needed on the machine:
# make, python3 (3.11 or later) with venv, curl to try things out, and node with npm for the tests
# that draw dashboards. No root.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# One more than cores: the tests wait for servers about as often as they compute.
WORKERS ?= $(shell echo $$(( $$(nproc) + 1 )))

# Percent of the repetitions of make test-faults.
FAULTS_SHARE ?= 100

# As in pyproject.toml, for what runs without pytest.
SHARED_BY_TESTS := .:tests:tests/support:tests/alerts:tests/grafana

# Stamps, so that packages are installed again only when pyproject.toml changes.
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-faults bench bench-short lint docs alerts dashboards screenshots status-screenshots clean

help: ## show this help
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

run: $(INSTALLED) ## start the exporter with a simulated fleet and print what to open
	@$(BIN)/esim-exporter demo

test: $(INSTALLED_DEV) ## check and test everything, with coverage
	@# What tests need is fetched and made beside lint, which has work for one core only. Tests
	@# that come to it first wait for it.
	@mkdir -p .cache
	@PYTHONPATH=$(SHARED_BY_TESTS) $(BIN)/python -m drawing > .cache/ahead.log 2>&1 &
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n $(WORKERS) --cov

test-faults: $(INSTALLED_DEV) ## break things for some 40 minutes: kills, power cuts, damage, full disks, fuzzing
	@$(BIN)/python tests/support/programs.py strace
	@$(BIN)/python -m pip install --quiet --group fuzz || echo "without atheris: Hypothesis alone fuzzes the parser"
	FAULTS_SHARE=$(FAULTS_SHARE) $(BIN)/python -m pytest -n 2 --dist=worksteal tests/faults

bench: $(INSTALLED_DEV) ## measure speed, memory and scale beside peers
	@$(BIN)/python tests/support/programs.py nginx prometheus-pushgateway || echo "figures whose peer is missing say so"
	$(BIN)/python -m benchmarks

bench-short: $(INSTALLED_DEV) ## the same on small fleets
	$(BIN)/python -m benchmarks --profile=short

docs: $(INSTALLED_DEV) ## write what docs/ takes from the code
	$(BIN)/python docs/generate.py

alerts: $(INSTALLED_DEV) ## write rules, routes and the table of alerts from their one source
	$(BIN)/python -m alerts.generator

dashboards: $(INSTALLED_DEV) ## write the dashboards from their source
	$(BIN)/python -m grafana.generator

screenshots: $(INSTALLED_DEV) ## take the pictures of the dashboards for the documentation
	$(BIN)/python -m pytest tests/grafana/test_dashboard_rendering.py
	for n in fleet package esim exporter; do pngquant --strip --force --speed 1 \
	  --output grafana/screenshots/esim-$$n.png 256 .cache/screenshots/esim-$$n-dark.png; done

status-screenshots: $(INSTALLED_DEV) ## take the pictures of the status page for the documentation
	PYTHONPATH=$(SHARED_BY_TESTS) $(BIN)/python -m status_pictures

lint: $(INSTALLED_DEV) ## check style, types and what is generated
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m alerts.generator --check
	$(BIN)/python -m grafana.generator --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove all that was set up or built; databases stay
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.* build dist
	find . -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@
