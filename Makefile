# Everything is set up on first use, in .venv and .cache of this checkout. Needed on the machine:
# make, python3 (3.11 or later) with venv, and curl to try things out. No root.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# One more than cores: the tests wait for servers about as often as they compute.
WORKERS ?= $(shell echo $$(( $$(nproc) + 1 )))

# Stamps, so that packages are installed again only when pyproject.toml changes.
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-dashboards bench bench-short lint docs alerts dashboards screenshots clean

help: ## show this help
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

run: $(INSTALLED) ## start the exporter with a simulated fleet and print what to open
	@$(BIN)/esim-exporter demo

test: lint ## check and test everything, with coverage
	@$(BIN)/python tests/programs.py || echo "tests that need a missing program are skipped"
	$(BIN)/python -m pytest -n $(WORKERS) --cov

bench: $(INSTALLED_DEV) ## measure speed, memory and scale beside peers
	@$(BIN)/python tests/programs.py nginx prometheus-pushgateway || echo "figures whose peer is missing say so"
	$(BIN)/python -m benchmarks

bench-short: $(INSTALLED_DEV) ## the same on small fleets
	$(BIN)/python -m benchmarks --profile=short

docs: $(INSTALLED_DEV) ## write the tables in README.md from the code
	$(BIN)/python docs/generate.py

alerts: $(INSTALLED_DEV) ## write rules, routes and the table of alerts from their one source
	$(BIN)/python -m alerts.generator

dashboards: $(INSTALLED_DEV) ## write the dashboards from their source
	$(BIN)/python -m grafana.generator

test-dashboards: $(INSTALLED_DEV) ## draw the dashboards with Grafana's components and check them
	$(BIN)/python -m pytest tests/grafana/rendering.py

screenshots: test-dashboards ## take the pictures for the documentation
	for n in fleet package esim exporter; do pngquant --strip --force --speed 1 \
	  --output grafana/screenshots/esim-$$n.png 256 .cache/screenshots/esim-$$n-dark.png; done

lint: $(INSTALLED_DEV) ## check style, types and what is generated
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m alerts.generator --check
	$(BIN)/python -m grafana.generator --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove all that was set up or built; databases stay
	rm -rf tests/grafana/render/node_modules tests/grafana/render/dist
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.* build dist
	find exporter tests -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@
