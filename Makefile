# The first use sets up everything in .venv and .cache of this checkout, without root. The machine
# needs make and python3 (3.11 or later) with venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# One more than there are cores, because tests also wait for servers.
WORKERS ?= $(shell echo $$(( $$(nproc) + 1 )))

# Percent of the repetitions that make test-faults does.
FAULTS_SHARE ?= 100

# Coverage takes half as much processor time again, so only CI measures it, in the quick tests.
COVERAGE ?= $(if $(filter true,$(CI)),--cov)

PYTEST := $(BIN)/python -m pytest

# The folders of pythonpath in pyproject.toml, for a program that pytest does not run.
SHARED_BY_TESTS := .:tests:tests/support:tests/alerts:tests/grafana

# Packages are installed again only when pyproject.toml is newer than these files.
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

# The file that makes Python use the code of this checkout. There is none after `pip install .` in
# .venv, which copies the code, and it names another folder after the checkout was moved. Then
# everything in .venv is installed again.
EDITABLE := $(shell test -x $(BIN)/python && \
  grep -lxF '$(CURDIR)' $(VENV)/lib/python*/site-packages/*esim_exporter.pth 2>/dev/null)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-slow test-faults test-pythons bench bench-short lint docs mixin screenshots status-screenshots clean again

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

run: $(INSTALLED) ## start the exporter with a simulated fleet, and print the addresses to open
	@$(BIN)/esim-exporter demo

test: $(INSTALLED_DEV) lint ## check style and types, and run the quick tests
	@# With worksteal, one process runs most tests of a file, and seldom makes a fixture again.
	$(PYTEST) -n $(WORKERS) --dist=worksteal $(COVERAGE)

test-slow: $(INSTALLED_DEV) ## run the slow tests: the demo, dashboards, browsers, long faults
	@# With loadfile, one process runs all tests of a file: fixtures of dashboards take long to make.
	$(PYTEST) -n $(WORKERS) --dist=loadfile -m slow

test-faults: $(INSTALLED_DEV) ## test faults for an hour: kills, power cuts, damage, full disks, fuzzing
	@$(BIN)/python tests/support/programs.py strace
	@$(BIN)/python -m pip install --quiet --group fuzz || echo "atheris cannot be installed, so Hypothesis alone fuzzes the parser"
	@# A single test may take longer than the limit for tests that hang.
	FAULTS_SHARE=$(FAULTS_SHARE) $(PYTEST) -n 2 --dist=worksteal -o faulthandler_timeout=0 \
	  -m "slow or not slow" tests/faults

test-pythons: $(INSTALLED_DEV) ## run the quick tests on every Python found, with the newest and the lowest packages
	$(BIN)/python tests/support/pythons.py -n $(WORKERS) --dist=worksteal

bench: $(INSTALLED_DEV) ## measure speed, memory and scale, side by side with other programs
	@$(BIN)/python tests/support/programs.py nginx prometheus-pushgateway || echo "the report says which figures need a missing program"
	$(BIN)/python -m benchmarks

bench-short: $(INSTALLED_DEV) ## measure the same on small fleets
	$(BIN)/python -m benchmarks --profile=short

docs: $(INSTALLED_DEV) ## write the generated parts of the documentation
	$(BIN)/python docs/generate.py

mixin: $(INSTALLED_DEV) ## write rules, routes, dashboards, the table of alerts and the chart's values
	$(BIN)/python alerts/repository_copies.py
	$(BIN)/python deploy/helm_sources/chart_files.py

screenshots: $(INSTALLED_DEV) ## write the pictures of the dashboards for the documentation
	$(PYTEST) -m slow tests/grafana/test_dashboard_rendering.py
	for n in fleet package esim exporter; do pngquant --strip --force --speed 1 \
	  --output grafana/screenshots/esim-$$n.png 256 .cache/screenshots/esim-$$n-dark.png; done

status-screenshots: $(INSTALLED_DEV) ## write the pictures of the status page for the documentation
	PYTHONPATH=$(SHARED_BY_TESTS) $(BIN)/python -m status_pictures

lint: $(INSTALLED_DEV) ## check style, types, generated files, the Dockerfile and the workflows
	$(BIN)/python docs/generate.py --check
	$(BIN)/python alerts/repository_copies.py --check
	$(BIN)/python deploy/helm_sources/chart_files.py --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tests/support/deployment_linters.py

clean: ## remove everything that was installed or built; databases stay
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.* build dist
	find . -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml $(if $(EDITABLE),,again)
	$(PYTHON) -m venv $(if $(EDITABLE),,--clear )$(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@
