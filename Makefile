# The doors: up, down, test, check. A fresh machine needs Python 3.11+, make, a Java 17 or 21 and package registries.

PYTHON ?= python3
# Arguments of pytest and of `hubbub up`, such as `make test TESTS="tests/unit -k codec"` and `make up ARGS=--detach`
TESTS ?=
ROWS ?=
ARGS ?=

# Found or installed when a recipe first needs it, not when make reads this file.
uv = $$($(PYTHON) infra/local/bootstrap.py)
run = "$$uv" run --no-sync
# What running needs, leaving alone what testing brought.
sync = "$$uv" sync --frozen --inexact --all-extras --no-default-groups

# What `make check` runs, one after the other; each must pass.
checks = "ruff check ." "ruff format --check ." "mypy" "lint-imports" "python -m infra.cli.reference --check"

.PHONY: up down test check faults faults-quick fmt

## Start Kafka, Cassandra, Spark and every role; Ctrl-C stops them. Java is looked for before anything is downloaded.
up:
	@$(PYTHON) infra/local/java.py > /dev/null
	@uv=$(uv) && $(sync) && exec $(run) hubbub up $(ARGS)

## Stop what `up` started, wherever it was started from.
down:
	@uv=$(uv) && $(sync) --quiet && $(run) hubbub down

## Every test, on real engines that are started for them unless HUBBUB_KAFKA_BOOTSTRAP names others.
test:
	@$(PYTHON) infra/local/java.py > /dev/null
	@uv=$(uv) && "$$uv" sync --frozen --all-extras && $(run) pytest $(TESTS)

## Rows of the fault matrix and the positive controls, on a Hubbub of their own: `make faults ROWS="1 7"`, all by default.
faults:
	@$(PYTHON) infra/local/java.py > /dev/null
	@uv=$(uv) && "$$uv" sync --frozen --all-extras && $(run) python -m tests.faults $(ROWS)

## Every role and engine hurt once at its worst point, and the controls.
faults-quick:
	@$(PYTHON) infra/local/java.py > /dev/null
	@uv=$(uv) && "$$uv" sync --frozen --all-extras && $(run) python -m tests.faults --quick

## Lint, format, types, import rules, drift of what is generated.
check:
	@uv=$(uv) && "$$uv" sync --frozen --all-extras && \
	for check in $(checks); do echo "$$check"; $(run) $$check || exit 1; done

## Format and fix what can be fixed.
fmt:
	@uv=$(uv) && "$$uv" sync --frozen --all-extras && $(run) ruff check --fix . && $(run) ruff format .
