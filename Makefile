PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
EDGE := .venv-edge
BACKENDS := .venv-backends
PACKAGING := .venv-packaging
LOWEST := .venv-lowest
EXTRAS ?= backends
ARM := .arm
MODEL ?=

.PHONY: help demo quick test test-slow test-backends test-web named-model test-edge test-arm test-wheel test-lowest bench docs types lint pre-commit clean

help:
	@echo "make demo       train, calibrate and judge eGAN on embedded data, offline"
	@echo "make quick      run the tests of single parts (under a minute, between edits)"
	@echo "make test       run the tests (under 8 minutes on 2 cores; WORKERS=N for more)"
	@echo "make test-slow  run the tests that take longer"
	@echo "make test-backends  run the tests on JAX and PyTorch, in an environment of"
	@echo "                their own (several GB; without CUDA, 2 GB, if PyTorch's wheel"
	@echo "                for CPUs is where pip looks; EXTRAS=jax for JAX alone)"
	@echo "make test-web   run the tests of web pages (needs node, npm and Chromium)"
	@echo "make test-edge  check MODEL=egan.tflite with export/ in an environment without"
	@echo "                TensorFlow"
	@echo "make test-arm   check MODEL=egan.tflite with export/ on an emulated Arm processor"
	@echo "                (needs Debian's apt)"
	@echo "make test-wheel  build wheel and sdist, and try them in an empty environment (3 GB"
	@echo "                while it runs)"
	@echo "make test-lowest  run tests on the oldest versions that setup.py allows (3 GB)"
	@echo "make bench      measure speed and memory (needs 6 GB of disk)"
	@echo "make docs       build the documentation into site/"
	@echo "make types      check the public interface's types with mypy"
	@echo "make lint       check style with ruff"
	@echo "make pre-commit  check all files as before a commit"
	@echo "make clean      remove the virtual environment and caches"

$(BIN)/egan-keras: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install -e '.[test]'
	touch $@

demo: $(BIN)/egan-keras
	$(BIN)/egan-keras demo --out demo --overwrite

quick: $(BIN)/egan-keras
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -q -m "not (slow or large or whole or web)" tests

test: $(BIN)/egan-keras
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-slow: $(BIN)/egan-keras
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "slow or large"

$(BACKENDS)/installed: setup.py
	$(PYTHON) -m venv $(BACKENDS)
	$(BACKENDS)/bin/python -m pip install --upgrade pip
	$(BACKENDS)/bin/python -m pip install -e '.[test,$(EXTRAS)]'
	touch $@

test-backends: $(BACKENDS)/installed
	$(BACKENDS)/bin/python -m pytest -m "" tests/test_backends.py tests/test_replicas.py

$(EDGE)/installed: export/requirements.txt
	$(PYTHON) -m venv --clear $(EDGE)
	$(EDGE)/bin/python -m pip install -r export/requirements.txt
	touch $@

named-model:
	@test -n "$(MODEL)" || { echo "name a model: MODEL=egan.tflite"; exit 2; }

test-edge: named-model $(EDGE)/installed
	$(EDGE)/bin/python export/score.py $(MODEL) --verify

test-arm: named-model
	PYTHON=$(PYTHON) tests/helpers/arm_emulation.sh $(MODEL) $(ARM)

test-web: $(BIN)/egan-keras
	cd export/web && npm ci
	$(BIN)/python -m pytest -m web tests

$(PACKAGING)/installed:
	$(PYTHON) -m venv $(PACKAGING)
	$(PACKAGING)/bin/python -m pip install build pre-commit twine uv
	touch $@

test-wheel: $(PACKAGING)/installed
	$(PACKAGING)/bin/python tests/helpers/check_wheel.py $(PYTHON)

$(LOWEST)/installed: setup.py $(PACKAGING)/installed
	$(PACKAGING)/bin/uv venv --clear --python $(PYTHON) $(LOWEST)
	$(PACKAGING)/bin/uv pip install --python $(LOWEST)/bin/python \
		--resolution lowest-direct -e '.[test]'
	touch $@

test-lowest: $(LOWEST)/installed
	$(LOWEST)/bin/python -m pytest -n $(WORKERS) --dist loadfile -q \
		-m "not (slow or large or whole or web)" tests
	$(LOWEST)/bin/python -m pytest -n $(WORKERS) --dist loadfile -q \
		tests/test_workflow.py tests/test_exporting.py tests/test_exporting_quantization.py \
		tests/test_tuning_search.py tests/test_demo.py tests/test_data_tfds.py

bench: $(BIN)/egan-keras
	$(BIN)/python tests/benchmarks/speed.py

$(BIN)/mkdocs: $(BIN)/egan-keras
	$(BIN)/python -m pip install -e '.[docs]'
	touch $@

docs: $(BIN)/mkdocs
	$(BIN)/mkdocs build --strict

types: $(BIN)/egan-keras
	$(BIN)/mypy

pre-commit: $(PACKAGING)/installed
	$(PACKAGING)/bin/pre-commit run --all-files

lint: $(BIN)/egan-keras
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) $(BACKENDS) $(EDGE) $(ARM) $(PACKAGING) $(LOWEST) build dist site \
		*.egg-info .pytest_cache .ruff_cache .mypy_cache
