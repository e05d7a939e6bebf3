PYTHON ?= python3
VENV ?= .venv
INSTALLED := $(VENV)/.installed

.PHONY: quickstart test lint clean

# A whole study on this machine, without GPU or network: installs, runs, says where the report is.
quickstart: $(INSTALLED)
	$(VENV)/bin/raypeft study quickstart

# Style, types, then every test.
test: lint
	$(VENV)/bin/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
