# Everything a user or a contributor runs. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
# How many tests run at a time; 0 runs them in pytest's own process, as a debugger needs.
WORKERS ?= logical
# What benchmarks/run.py is to do otherwise than by default.
BENCH_ARGS ?=
# Set it to write over the published results rather than beside them.
PUBLISH ?=
BENCH_OUT := benchmarks/results$(if $(PUBLISH),,/local)
# The Python that `make gpu-check` runs in, with torch for the GPU in it.
GPU_PYTHON ?= python3
# The package index to take torch from, for a build other than the default index's.
TORCH_INDEX ?=

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
# No build isolation: the package is built by the pinned setuptools, and torch-scatter must
# compile against the torch it will run with.
INSTALL := $(PIP) install --quiet --no-build-isolation -c constraints.txt
PYTEST := $(PY) -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal $(PYTEST_ARGS)

# Directories that hold Python; mypy refuses one that holds none.
TYPED := mentor_pyg $(patsubst %/,%,$(sort $(dir $(wildcard examples/*.py benchmarks/*.py docs/*.py))))
WHEEL_VENV := build/wheel-venv

.PHONY: help setup setup-dev scatter no-scatter native no-native demo bench gpu-check docs format lint \
	type-check test test-compiled test-slow realdata doctest wheel-check check clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- environment -----------------------------------------------------------------------------

$(VENV)/.stamp-venv: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -c constraints.txt pip setuptools wheel
	touch $@

$(VENV)/.stamp-setup: $(VENV)/.stamp-venv pyproject.toml
	$(INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(INSTALL) -e '.[train]'
	touch $@

$(VENV)/.stamp-bench: $(VENV)/.stamp-setup
	$(INSTALL) -e '.[bench]'
	touch $@

$(VENV)/.stamp-setup-dev: $(VENV)/.stamp-bench
	$(INSTALL) -e '.[train,dev]'
	touch $@

$(VENV)/.stamp-docs: $(VENV)/.stamp-setup
	$(INSTALL) -e '.[docs]'
	touch $@

setup: $(VENV)/.stamp-setup ## Create .venv and install the library with what training needs

setup-dev: $(VENV)/.stamp-setup-dev ## Also install the developer's tools

scatter: setup ## Compile and install torch-scatter (some minutes)
	$(INSTALL) --no-deps torch-scatter
	@# A cached build may belong to another torch: then it installs, and fails to load.
	@$(PY) -c 'from mentor_pyg.dependencies import can_import as h; exit(not h("torch_scatter"))' || \
		{ echo "torch-scatter does not load; run: make no-scatter && \
	$(PIP) cache remove torch_scatter && make scatter" >&2; exit 1; }

no-scatter: setup ## Remove torch-scatter
	$(PIP) uninstall --quiet --yes torch-scatter

native: setup ## Compile the C++ kernels for this CPU (some seconds; needs g++)
	$(PY) -m mentor_pyg.ops.compile_native

no-native: ## Remove them
	rm -f mentor_pyg/ops/*/_native_*-*.so

demo: setup ## Train MENTOR on the built-in synthetic data
	$(PY) examples/train_baby.py

bench: $(VENV)/.stamp-bench ## Measure time and memory on this machine (under 10 minutes)
	$(PY) benchmarks/run.py $(BENCH_ARGS) --out $(BENCH_OUT)/cpu

# Runs in a Python that has torch for CUDA, installs nothing and needs no network. Only the files
# with such tests are collected, since others import packages that may be missing there. What is
# measured is measured even where a test failed.
gpu-check: export PYTHONPATH := .$(if $(PYTHONPATH),:$(PYTHONPATH))
gpu-check: ## Test every GPU path and measure them, in GPU_PYTHON (under 10 minutes)
	@$(GPU_PYTHON) -c "$$FIND_CUDA"
	tests=0; $(GPU_PYTHON) -m pytest $(PYTEST_ARGS) -m gpu \
		$$(grep -rl --include='test_*.py' 'mark\.gpu' tests) || tests=$$?; \
	$(GPU_PYTHON) benchmarks/run.py $(BENCH_ARGS) --device cuda --out $(BENCH_OUT)/cuda; \
	exit $$tests

define FIND_CUDA
import importlib.util, sys
needed = ("torch", "torch_geometric", "numpy", "pandas", "safetensors", "pytest")
if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
    sys.exit(f"gpu-check: {sys.executable} lacks {missing}; name another: GPU_PYTHON=...")
wanted = ("triton", "lightning", "rich", "tensorboard", "scipy", "matplotlib", "torch_scatter")
if absent := [name for name in wanted if importlib.util.find_spec(name) is None]:
    print(f"gpu-check: without {absent}, their tests, backends or figures are left out")
import torch
if not torch.cuda.is_available():
    sys.exit(f"gpu-check: torch {torch.__version__} of {sys.executable} sees no CUDA device; "
             "run it on a machine with one, or name another Python: GPU_PYTHON=...")
print(f"gpu-check: torch {torch.__version__} on {torch.cuda.get_device_name()}")
endef
export FIND_CUDA

docs: $(VENV)/.stamp-docs ## Build the documentation site into build/site (about 3 minutes)
	rm -rf docs/api/generated
	$(PY) -m sphinx --builder html --fail-on-warning --keep-going --quiet \
		--doctree-dir build/doctrees docs build/site

# ---- checks ----------------------------------------------------------------------------------

format: setup-dev ## Rewrite the code in the house format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lint: setup-dev ## Ruff and codespell
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/codespell

type-check: setup-dev ## Mypy, strict
	$(PY) -m mypy $(TYPED)

test: setup-dev ## The tests, without the slow ones
	$(PYTEST) -m "not slow"

# Of what these test, nothing differs where code is compiled.
SAME_COMPILED := cli experiments export features preparation serving
test-compiled: setup-dev ## The tests that compiled code makes a difference to
	$(PYTEST) -m "not slow" $(SAME_COMPILED:%=--ignore=tests/%) --ignore=tests/test_docs.py

test-slow: setup-dev ## The slow tests only
	$(PYTEST) -m slow

realdata: setup-dev ## The tests on real data sets
	$(PYTEST) -m realdata

doctest: setup-dev ## The examples in docstrings
	$(PYTEST) --doctest-modules mentor_pyg

# The wheel goes into an environment of its own. That sees this one's dependencies through a
# .pth file, but not its editable install, so whatever the wheel leaves out is missing.
wheel-check: setup-dev ## Build the wheel, install it elsewhere and try it
	rm -rf build dist
	$(PY) -m build --no-isolation --outdir dist . > /dev/null
	$(PYTHON) -m venv --without-pip $(WHEEL_VENV)
	$(PIP) --python $(WHEEL_VENV)/bin/python install --quiet --no-deps --no-index dist/*.whl
	$(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> "$$($(WHEEL_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/deps.pth"
	cd / && MODULES=$$(find '$(CURDIR)/mentor_pyg' -name '*.py' | wc -l) \
		'$(CURDIR)/$(WHEEL_VENV)/bin/python' -I -c "$$WHEEL_SMOKE"

define WHEEL_SMOKE
import importlib, os, pathlib, pkgutil, sys

# A plain install has none of these, and `import mentor_pyg` must do without them.
optional = ("jsonargparse", "lightning", "pytorch_lightning", "rich", "torch_scatter")
sys.modules.update(dict.fromkeys(optional))
import mentor_pyg
for name in optional:
    del sys.modules[name]

root = pathlib.Path(mentor_pyg.__file__).parent
assert root.is_relative_to(sys.prefix), f"imported from {root}, not from the wheel"
assert (root / "py.typed").is_file(), "the wheel lacks py.typed"
names = [m.name for m in pkgutil.walk_packages([str(root)], "mentor_pyg.")]
for name in names:
    importlib.import_module(name)
missing = int(os.environ["MODULES"]) - len(names) - 1
assert missing == 0, f"the wheel lacks {missing} modules of the checkout"
print(f"wheel-check: mentor_pyg {mentor_pyg.__version__}, {len(names) + 1} modules import")
endef
export WHEEL_SMOKE

# What computes is tested twice, because PyG and `backend="auto"` take other paths where
# torch-scatter and the native kernel are there. Sub-makes keep the order under `make -j`.
check: ## What has to pass: lint, types, docs, wheel, tests without and with compiled code
	$(MAKE) setup-dev
	$(MAKE) lint
	$(MAKE) type-check
	$(MAKE) no-scatter no-native
	$(MAKE) test
	$(MAKE) doctest
	$(MAKE) wheel-check
	$(MAKE) scatter native
	$(MAKE) test-compiled

clean: ## Remove what was built, but not .venv
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
