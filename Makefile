PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test test-slow bench lint clean

help:
	@echo "make demo       train, calibrate and judge eGAN on embedded data, offline"
	@echo "make test       run the tests (under 10 minutes on 2 cores; WORKERS=N for more)"
	@echo "make test-slow  run the tests that take longer"
	@echo "make bench      measure speed and memory (needs 6 GB of disk)"
	@echo "make lint       check style with ruff"
	@echo "make clean      remove the virtual environment and caches"

$(BIN)/egan-keras: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install -e '.[test]'
	touch $@

demo: $(BIN)/egan-keras
	$(BIN)/egan-keras demo --out demo --overwrite

test: $(BIN)/egan-keras
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-slow: $(BIN)/egan-keras
	$(BIN)/python -m pytest -n $(WORKERS) -m slow

bench: $(BIN)/egan-keras
	$(BIN)/python tests/benchmarks/speed.py

lint: $(BIN)/egan-keras
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
