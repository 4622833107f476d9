# Everything runs in .venv, which the first target makes: only Python 3.11 (or newer), pip and make are needed.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
# What pip installs is compiled on all cores; what fails there are templates for code, which nobody imports.
INSTALL := $(BIN)/pip install --quiet --no-compile --constraint constraints.txt
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
# -rs: say what was skipped, and why.
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal -rs

export OMP_WAIT_POLICY := PASSIVE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check format docs bench clean

$(VENV)/ready: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) was not found; name a Python 3.11 or newer: make PYTHON=python3 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch==2.13.0
	$(INSTALL) --editable '.[dev]'
	@$(COMPILE)
	touch $@

# Triton's interpreter runs the GPU kernels on the CPU; it is large, and the tests that need it are skipped without it.
$(VENV)/kernels: $(VENV)/ready
	-$(INSTALL) --editable '.[kernels]'
	@$(COMPILE)
	touch $@

# The main job on a real data set: a study of eight trials, then its blend as a submission.
demo: $(VENV)/ready
	$(BIN)/python -m search.run --demo --output $(DEMO)
	$(BIN)/python -m ensemble.export --output $(DEMO) --sample-submission $(DEMO)/data/sample_submission.csv --submission $(DEMO)/submission.csv

test: $(VENV)/ready $(VENV)/kernels
	$(PYTEST)

# What CI runs.
check: $(VENV)/ready $(VENV)/kernels
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

format: $(VENV)/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/ready
	$(BIN)/python -m benchmarks.recurrence
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.mlflow_pages

clean:
	rm -rf $(VENV) $(DEMO) site build *.egg-info
