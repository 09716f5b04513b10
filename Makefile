# Every target sets itself up: only make and Python 3.11 or newer are needed.

PYTHON ?= python3
# An environment for each purpose, so that none hides what another one lacks: this one, for tests and style, and beside
# it .venv-demo, .venv-docs, ... They share what pip keeps of its downloads.
VENV   ?= .venv

# What each environment holds. The extra `plot` is part of `cli` and `demo`, `cli` of `experiments`.
install-demo  := -e ".[demo]"
install-test  := -e ".[demo,experiments,estimators,dask]" --group test --group docs
install-lint  := -e ".[demo,experiments,estimators,dask]" --group lint
install-reproduce := -e ".[experiments]"
install-bench := -e ".[bench,dask]"
install-docs  := -e ".[demo,experiments,estimators,dask]" --group docs

export PIP_DISABLE_PIP_VERSION_CHECK = 1

# Modules are compiled when they are imported: most of what an environment holds never is, and compiling all takes longer
# than installing it.
INSTALL := -m pip install --quiet --no-compile

.NOTPARALLEL:
.PHONY: help demo test test-core test-oldest test-newest packaging docs reproduce lint bench bench-imaging bench-descent bench-cluster bench-regression bench-structure correctness clean
.DEFAULT_GOAL := help

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)-demo/.ready-demo ## Recover an ECG and a photograph, and fit a medical table; pictures go to demo/
	$(VENV)-demo/bin/python examples/ecg_recovery.py --output demo
	$(VENV)-demo/bin/python examples/picture_recovery.py --output demo
	$(VENV)-demo/bin/python examples/coefficient_path.py --output demo

# One BLAS thread: two for each worker take half as long again (`make test-core` leaves BLAS what a user has), and the
# times of solvers compare.
ONE_THREAD := test test-oldest test-newest bench bench-imaging bench-regression bench-structure
$(ONE_THREAD): export OPENBLAS_NUM_THREADS ?= 1
$(ONE_THREAD): export OMP_NUM_THREADS ?= 1
$(ONE_THREAD): export MKL_NUM_THREADS ?= 1

test: $(VENV)/.ready-test ## Run the tests (ARGS="-m slow" for the slow ones)
	$(VENV)/bin/python -m pytest -n auto --dist loadfile $(ARGS)

# What everything else stands on, in two or three minutes.
CORE := tests/test_certificates.py tests/test_files.py tests/test_flow.py tests/test_house.py tests/test_limit.py \
	tests/test_operators.py tests/test_plotting.py tests/test_recover.py tests/test_saddles.py tests/test_site.py

CORETYPE ?= Nehalem
test-core: $(VENV)/.ready-test ## The core of them, with the linear algebra of another processor (CORETYPE=Haswell)
	OPENBLAS_CORETYPE=$(CORETYPE) $(VENV)/bin/python -m pytest -n auto --dist loadfile $(CORE) $(ARGS)

# Old packages call what newer ones warn of: warnings are no errors there.
test-oldest: $(VENV)-oldest/.ready-oldest ## The same with the oldest versions of what pyproject.toml declares
	$(VENV)-oldest/bin/python -m pytest -n auto --dist loadfile -W default $(CORE) $(ARGS)
	$(VENV)-oldest/bin/python -P .ci/promises.py plot cli dask estimators experiments

# The newest NumPy and SciPy want a newer Python than the oldest that hadaflow runs on.
test-newest: $(VENV)-newest/.ready-newest ## The same with the newest versions, on the newest Python that is there
	$(VENV)-newest/bin/python -m pytest -n auto --dist loadfile $(CORE) $(ARGS)

packaging: ## Build and install wheel and sdist, without a C compiler too, and try each extra alone
	$(PYTHON) .ci/distributions.py $(ARGS)

docs: $(VENV)-docs/.ready-docs ## Build the documentation, and check its links; it starts at docs/_build/html/index.html
	$(VENV)-docs/bin/python -m sphinx -b html -W --keep-going -n -q docs docs/_build/html
	$(VENV)-docs/bin/python docs/check_links.py docs/_build/html

reproduce: $(VENV)-reproduce/.ready-reproduce ## Run the experiments of the papers (ARGS="--full" for their sizes)
	$(VENV)-reproduce/bin/hadaflow reproduce all $(ARGS)

lint: $(VENV)/.ready-lint ## Check style, types, layers and spelling
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/codespell

bench: $(VENV)-bench/.ready-bench ## Compare with other basis-pursuit solvers
	$(VENV)-bench/bin/python benchmarks/basis_pursuit.py $(ARGS)

bench-imaging: $(VENV)-bench/.ready-bench ## Compare with other solvers on pictures, exact and noisy
	$(VENV)-bench/bin/python benchmarks/imaging.py $(ARGS)

bench-descent: $(VENV)-bench/.ready-bench ## Time gradient descent and gradient flow, step by step
	$(VENV)-bench/bin/python benchmarks/descent.py $(ARGS)

bench-cluster: $(VENV)-bench/.ready-bench ## Recover from a matrix larger than the memory of its workers
	$(VENV)-bench/bin/python benchmarks/larger_than_memory.py $(ARGS)

bench-regression: $(VENV)-bench/.ready-bench ## Compare with other estimators of sparse regression, on drawn data with noise
	$(VENV)-bench/bin/python benchmarks/regression.py $(ARGS)

bench-structure: $(VENV)-bench/.ready-bench ## Compare with other solvers in groups, on complex data and joint columns
	$(VENV)-bench/bin/python benchmarks/structure.py $(ARGS)

correctness: $(VENV)/.ready-test ## Judge five thousand answers in extended precision: is anything said that is not so?
	$(VENV)/bin/python benchmarks/correctness.py $(ARGS)

clean: ## Remove the environments, the demo's output and all caches
	rm -rf $(VENV) $(VENV)-* demo dist docs/_build docs/auto_gallery reproduction-quick reproduction-full .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installs again, and compiles, whenever what is installed or compiled has changed.
sources := pyproject.toml hatch_build.py src/hadaflow/_sweep.c

$(VENV)/.ready-%: $(sources) | $(VENV)/bin/.pip
	$(VENV)/bin/python $(INSTALL) $(install-$*)
	@touch $@

$(VENV)-oldest/.ready-oldest: $(sources) .ci/oldest.py | $(VENV)-oldest/bin/.pip
	$(VENV)-oldest/bin/python .ci/oldest.py > $(VENV)-oldest/constraints.txt
	$(VENV)-oldest/bin/python $(INSTALL) --constraint $(VENV)-oldest/constraints.txt $(install-test)
	@touch $@

$(VENV)-newest/.ready-newest: $(sources) | $(VENV)-newest/bin/.pip
	$(VENV)-newest/bin/python $(INSTALL) --upgrade $(install-test)
	@touch $@

define environment
$(VENV)-$(1)/.ready-$(1): $$(sources) | $(VENV)-$(1)/bin/.pip
	$(VENV)-$(1)/bin/python $$(INSTALL) $$(install-$(1))
	@touch $$@
endef
$(foreach name,demo docs reproduce bench,$(eval $(call environment,$(name))))

# Dependency groups need pip 25.1.
.PRECIOUS: %/bin/.pip
%/bin/.pip:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("hadaflow needs Python 3.11 or newer; name one with: make PYTHON=python3.12")'
	$(PYTHON) -m venv $*
	$*/bin/python $(INSTALL) --upgrade "pip>=25.1"
	@touch $@
