# Everything that a fresh machine needs is set up by the targets themselves: `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Larger tests read a folder of public rasters where there is one; without it they are skipped.
export GEONP_DATA ?= $(wildcard $(abspath ../shared/data))

.PHONY: demo test check browser docs constraints clean

demo: $(READY)
	$(BIN)/geonp demo --output demo --overwrite

# One process a core; torch's own threads would only take turns with them.
test: check browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Reports are tested in a real browser, which Debian has; where it cannot be installed, that test is skipped.
browser:
	@command -v chromedriver >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || \
	  { apt-get update -qq && apt-get install -qq -y chromium chromium-driver; } >/dev/null 2>&1 || true

docs: $(READY)
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group test --group docs
	$(BIN)/python -m compileall -q geonp cli datasets
	touch $@

# Writes down what is installed, after a tested upgrade.
constraints: $(READY)
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build demo
