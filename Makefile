# `make demo` and `make test` are the only set-up anyone needs: each makes its
# own environment in $(VENV) with $(PYTHON) and installs what it uses there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all lint types unit verify catalogue bench docs serve-docs clean

demo: $(VENV)/examples.stamp
	$(BIN)/python examples/demo.py --out out/demo.png

test: lint types unit

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

unit: $(VENV)/dev.stamp
	$(BIN)/pytest -n 2 --dist worksteal $(PYTEST)

# With those that are long because they are exhaustive; `make unit PYTEST="--exhaustive 3/24"`
# runs a part of them.
test-all: PYTEST = --exhaustive all
test-all: lint types unit

verify: $(VENV)/examples.stamp
	$(BIN)/python -m funcnn.verify

# The verifier on trial; half an hour on two cores.
catalogue: $(VENV)/dev.stamp
	$(BIN)/python -m tests.catalogue --seeds 20 --markdown > docs/catalogue.md

# funcnn against autodiff and against other libraries, on a machine with nothing else to
# do; half an hour on two cores. The results go into docs/benchmarks.md.
bench: $(VENV)/bench.stamp
	mkdir -p out
	$(BIN)/python -m benchmarks ops --json out/benchmarks-ops.json
	$(BIN)/python -m benchmarks steps --json out/benchmarks-steps.json
	$(BIN)/python -m benchmarks page out/benchmarks-ops.json out/benchmarks-steps.json

docs: $(VENV)/dev.stamp
	$(BIN)/python docs/names.py > docs/names.md
	$(BIN)/python -m funcnn.verify > docs/verification-table.txt
	$(BIN)/python -m funcnn.verify --costs --markdown > docs/costs-table.txt
	$(BIN)/python -m funcnn.verify --matrix --markdown > docs/matrix-table.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

serve-docs: $(VENV)/dev.stamp
	$(BIN)/mkdocs serve

# One environment serves all targets; a stamp says which extra it holds so far.
$(VENV)/%.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) out site
