# make demo   a first look: makes a small devkit, converts it, also into an S3 server, reads it back
# make test   the whole test suite, with NumPy 2.x and 1.26; MXNet, two S3 servers, dask, ray and the
#             official SageMaker SDK take part
# make dev    one environment to work in: tests, linters, documentation; no MXNet, dask, ray or SDK
# make quick  while working: ruff, mypy, and the unit tests that need nothing else
# make lint   ruff, mypy, and the workflow of the public CI
# make docs   the documentation, in docs/_build/html
# make bench  measures, side by side: tables and plots in benchmarks/work/results; ARGS=--quick
# make faults  every call on files fails in turn, and every power cut: takes an hour, and writes the
#             table of the documentation
# make coverage   what the last make test covered
# Each makes the virtual environments that it needs, in this folder.

PYTHON ?= python3
# where mxnet 1.9.1 and numpy 1.26.4 have wheels; without it the MXNet comparison is left out
MXNET ?= $(shell $(PYTHON) -c 'import platform as p, sys; print(int(p.system() == "Linux" and p.machine() == "x86_64" and sys.version_info < (3, 13)))')
# the second S3 server of the tests, OpenStack Swift, runs on Linux
SWIFT ?= $(shell $(PYTHON) -c 'import platform as p; print(int(p.system() == "Linux"))')

PIP = -m pip install --quiet --disable-pip-version-check
PEERS = $(CURDIR)/.venv-peers/bin/python
MXNET_PYTHON = $(if $(filter 1,$(MXNET)),RECPACK_MXNET_PYTHON=$(PEERS))
VARIABLES = RECPACK_SDK_PYTHON=$(PEERS) $(MXNET_PYTHON) $(if $(filter 1,$(SWIFT)),RECPACK_SWIFT_PYTHON=$(PEERS))
# file by file, as many at once as there are cores, and four at most
PYTEST = -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: demo test dev quick lint docs faults bench environments test-numpy2 test-numpy1 coverage clean

demo: .venv/installed
	.venv/bin/recpack demo recpack-demo --overwrite

test:
	$(MAKE) --jobs 2 environments
	$(MAKE) test-numpy2
	$(MAKE) test-numpy1

environments: .venv-test/installed .venv-peers/installed

# as users have it
test-numpy2: .venv-test/installed .venv-peers/installed
	$(VARIABLES) .venv-test/bin/python $(PYTEST) --cov --cov-report= --cov-fail-under=0

# the oldest NumPy supported, beside MXNet in one environment: what another NumPy can break
ifeq ($(MXNET),1)
test-numpy1: .venv-peers/installed
	$(VARIABLES) $(PEERS) $(PYTEST) -m "not once"
else
test-numpy1:
	@echo "the comparison with MXNet needs Linux on x86-64 and Python 3.11 or 3.12: left out"
endif

dev: .venv-dev/installed

quick: lint
	.venv-dev/bin/python $(PYTEST) --quiet -m "not once and not slow"

lint: .venv-dev/installed
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/mypy
	.venv-dev/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

docs: .venv-dev/installed
	.venv-dev/bin/python docs/make.py

faults: .venv-test/installed
	.venv-test/bin/python -m tests.faults local $(or $(ARGS),--full)

coverage:
	.venv-test/bin/python -m coverage report

bench: .venv-test/installed .venv-peers/installed
	$(MXNET_PYTHON) .venv-test/bin/python -m benchmarks $(or $(ARGS),--full)

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) --editable '.[demo]'
	touch $@

.venv-dev/installed: pyproject.toml
	$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/python $(PIP) --editable '.[test,lint,docs]'
	touch $@

.venv-test/installed: pyproject.toml
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/python $(PIP) --editable '.[test,bench,dask,ray,readers,lint]'
	touch $@

# what recpack is compared with, and the oldest NumPy; waits, because both build recpack here
.venv-peers/installed: pyproject.toml | .venv-test/installed
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python $(PIP) $(if $(filter 1,$(MXNET)),mxnet==1.9.1 numpy==1.26.4 opencv-python-headless==4.11.0.86) 'sagemaker==2.257.*' $(if $(filter 1,$(SWIFT)),swift==2.38.3) --editable '.[test]'
	touch $@

clean:
	rm -rf .venv .venv-dev .venv-test .venv-peers docs/_build docs/generated recpack-demo .coverage* .pytest_cache .mypy_cache .ruff_cache
