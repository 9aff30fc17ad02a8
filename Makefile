# Every target makes its own virtual environment first; nothing but Python is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# What `make leaderboard` compares with, and where it writes what changed.
BASE ?= main
REPORT ?= build/leaderboard-diff.md

# The lowest versions that setup.cfg allows, and what is run on them as well as on the newest.
OLDEST := .venv-oldest
BOTH_ENDS := tests/connectors tests/test_entry.py tests/test_api.py tests/test_api_results.py tests/test_command_line.py tests/test_docs.py

# The commands that read files alone, without torch and what models need.
PAGES := .venv-pages

.PHONY: demo test faults test-oldest lint bench docs leaderboard verify clean

demo: $(STAMP)
	$(BIN)/connector-bench demo

test: $(STAMP) lint
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

faults: $(STAMP)
	CONNECTOR_BENCH_FAULTS=2000 HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m faults

test-oldest: $(OLDEST)/.installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest $(BOTH_ENDS)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m benchmarks

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

leaderboard: $(PAGES)/.installed
	PATH="$(CURDIR)/$(PAGES)/bin:$$PATH" .ci/leaderboard $(BASE) $(REPORT)

verify: $(STAMP)
	rm -rf build/zoo
	$(BIN)/connector-bench demo --all --seeds 1 --output build/zoo
	$(BIN)/connector-bench leaderboard verify build/zoo/results

$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 10) <= sys.version_info < (3, 14) else "connector-bench needs Python 3.10 to 3.13, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[test,docs]'
	touch $@

$(OLDEST)/.installed: setup.cfg pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install -c constraints-oldest.txt -e '.[test]'
	touch $@

$(PAGES)/.installed: setup.cfg pyproject.toml requirements-pages.txt
	$(PYTHON) -m venv $(PAGES)
	$(PAGES)/bin/python -m pip install -c constraints.txt -r requirements-pages.txt
	$(PAGES)/bin/python -m pip install --no-deps -e .
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) $(PAGES) build dist demo_output *.egg-info
