# Every target sets itself up: only make and Python 3.11 or newer are needed.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# What each target installs. The extra `plot` is part of `cli` and `demo`, `cli` of `experiments`.
install-demo  := -e ".[demo,cli,estimators]"
install-test  := -e ".[demo,experiments,estimators,dask]" --group test --group docs
install-lint  := -e ".[demo,experiments,estimators,dask]" --group lint
install-reproduce := -e ".[experiments]"
install-bench := -e ".[bench,dask]"
install-docs  := -e ".[demo,experiments,estimators,dask]" --group docs

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.NOTPARALLEL:
.PHONY: help demo test docs reproduce lint bench bench-imaging bench-descent bench-cluster bench-regression correctness clean
.DEFAULT_GOAL := help

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.ready-demo ## Recover an ECG and a photograph, and fit a medical table; pictures go to demo/
	$(BIN)/python examples/ecg_recovery.py --output demo
	$(BIN)/python examples/picture_recovery.py --output demo
	$(BIN)/python examples/coefficient_path.py --output demo

test: $(VENV)/.ready-test ## Run the tests (ARGS="-m slow" for the slow ones)
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

docs: $(VENV)/.ready-docs ## Build the documentation, and check its links; it starts at docs/_build/html/index.html
	$(BIN)/python -m sphinx -b html -W --keep-going -n -q docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html

reproduce: $(VENV)/.ready-reproduce ## Run the experiments of the papers (ARGS="--full" for their sizes)
	$(BIN)/hadaflow reproduce all $(ARGS)

lint: $(VENV)/.ready-lint ## Check style, types, layers and spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

# One thread per solver, so that the times compare.
bench bench-imaging bench-regression: export OPENBLAS_NUM_THREADS = 1
bench bench-imaging bench-regression: export OMP_NUM_THREADS = 1
bench bench-imaging bench-regression: export MKL_NUM_THREADS = 1
bench: $(VENV)/.ready-bench ## Compare with other basis-pursuit solvers
	$(BIN)/python benchmarks/basis_pursuit.py $(ARGS)

bench-imaging: $(VENV)/.ready-bench ## Compare with other solvers on pictures, exact and noisy
	$(BIN)/python benchmarks/imaging.py $(ARGS)

bench-descent: $(VENV)/.ready-bench ## Time gradient descent and gradient flow, step by step
	$(BIN)/python benchmarks/descent.py $(ARGS)

bench-cluster: $(VENV)/.ready-bench ## Recover from a matrix larger than the memory of its workers
	$(BIN)/python benchmarks/larger_than_memory.py $(ARGS)

bench-regression: $(VENV)/.ready-bench ## Compare with other estimators of sparse regression, on drawn data with noise
	$(BIN)/python benchmarks/regression.py $(ARGS)

correctness: $(VENV)/.ready-test ## Judge five thousand answers in extended precision: is anything said that is not so?
	$(BIN)/python benchmarks/correctness.py $(ARGS)

clean: ## Remove the environment, the demo's output and all caches
	rm -rf $(VENV) demo dist docs/_build docs/auto_gallery reproduction-quick reproduction-full .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installs again, and compiles, whenever what is installed or compiled has changed.
$(VENV)/.ready-%: pyproject.toml hatch_build.py src/hadaflow/_sweep.c | $(BIN)/.pip
	$(BIN)/python -m pip install --quiet $(install-$*)
	@touch $@

# Dependency groups need pip 25.1.
$(BIN)/.pip:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("hadaflow needs Python 3.11 or newer; name one with: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@
