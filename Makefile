# `make run` and `make test` need Python 3.11 or newer and nothing else; `make help` lists the rest.
# Written for GNU make 3.81 and newer (macOS has the former).

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
REQUIRED := 3.11
# The newest suitable interpreter; `make PYTHON=/path/to/python3.12 run` takes another.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	if command -v $$name >/dev/null 2>&1 && $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo $$name; break; fi; done)

.DEFAULT_GOAL := help
.PHONY: help run relays test check bench format docs lock compile clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -e 's/:.*## /	/' | sort | while IFS='	' read -r name text; do \
		printf '  make %-8s %s\n' "$$name" "$$text"; done

run: $(VENV)/.service ## Run the service on SQLite; without MIDTRANS_SERVER_KEY with a simulator and demo payments
	@exec $(BIN)/python -m service run --try-out

relays: $(VENV)/.relays ## Install what relays to NATS, Redis, RabbitMQ and Kafka need (docs/relays.md)

test: $(VENV)/.dev ## Run the whole test suite
	@$(BIN)/python -m pytest -n auto

check: $(VENV)/.dev ## Run the fast checks: format, lint, types, imports, fast tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -n auto -m 'not slow'

ROUNDS ?= 5
SECONDS ?= 5
bench: $(VENV)/.bench ## Measure; ROUNDS=1 SECONDS=2 for a first look, BENCH="--help" for the rest
	@$(BIN)/python -m benchmarks --rounds $(ROUNDS) --seconds $(SECONDS) $(BENCH)

format: $(VENV)/.dev ## Format the code and mend what the linter can mend
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

docs: $(VENV)/.dev ## Write what the documentation takes from the code
	@$(BIN)/python docs/generate.py

lock: $(VENV)/.dev ## Compile requirements/ from pyproject.toml (UPGRADE=--upgrade takes newer versions)
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install uv
	@$(MAKE) --no-print-directory compile

# No header, no annotation, no index: the files name no address, and hold for every supported Python and platform.
UV := $(BIN)/uv
INTO := requirements
COMPILE = $(UV) pip compile --quiet --universal --python-version $(REQUIRED) --generate-hashes --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links $(UPGRADE) pyproject.toml

SERVICE = --group service --group postgres --group nats --group redis --group rabbitmq --group kafka

compile:
	@$(COMPILE) --group service --group postgres --output-file $(INTO)/service.txt >/dev/null
	@$(COMPILE) $(SERVICE) --constraint $(INTO)/service.txt --output-file $(INTO)/relays.txt >/dev/null
	@$(COMPILE) $(SERVICE) --group dev --constraint $(INTO)/relays.txt --output-file $(INTO)/dev.txt >/dev/null
	@$(COMPILE) --group bench --constraint $(INTO)/dev.txt --output-file $(INTO)/bench.txt >/dev/null

clean: ## Remove the environment, caches and built files; data/ is kept
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp says which requirements are installed: it is older than the file when they changed.
$(VENV)/.service: requirements/service.txt $(VENV)/.made
	@echo "Installing what the service needs into $(VENV) (once, about half a minute) ..."
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements/service.txt
	@touch $@

$(VENV)/.relays: requirements/relays.txt $(VENV)/.service
	@echo "Installing what relays to brokers need into $(VENV) ..."
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements/relays.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.service
	@echo "Installing what the tests need into $(VENV) (once, about a minute) ..."
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.bench: requirements/bench.txt $(VENV)/.dev
	@echo "Installing what the benchmarks compare with into $(VENV) ..."
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements/bench.txt
	@touch $@

$(VENV)/.made:
	@sh tools/make-venv "$(PYTHON)" $(VENV)
	@touch $@
