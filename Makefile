# make demo   a first look: makes a small devkit, converts it, also into an S3 server, reads it back
# make test   the whole test suite, with NumPy 1.26 and 2.x; MXNet, two S3 servers, dask, ray and the
#             official SageMaker SDK take part
# make quick  while working: unit tests that need no other environment, ruff and mypy
# make lint   ruff and mypy
# make bench  measures, side by side: tables and plots in benchmarks/work/results; ARGS=--quick
# make docs   the documentation, in docs/_build/html
# make coverage   what the last make test covered
# Each makes the virtual environments that it needs, in this folder.

PYTHON ?= python3
SDK = RECPACK_SDK_PYTHON=$(CURDIR)/.venv-sdk/bin/python
# where mxnet 1.9.1 and numpy 1.26.4 have wheels; without it the MXNet comparison is left out
MXNET ?= $(shell $(PYTHON) -c 'import platform as p, sys; print(int(p.system() == "Linux" and p.machine() == "x86_64" and sys.version_info < (3, 13)))')

# the second S3 server of the tests, OpenStack Swift, runs on Linux
SWIFT ?= $(shell $(PYTHON) -c 'import platform as p; print(int(p.system() == "Linux"))')

PIP = -m pip install --quiet --disable-pip-version-check
ORACLE = .venv-mxnet/bin/python
STORE = $(if $(filter 1,$(SWIFT)),RECPACK_SWIFT_PYTHON=$(CURDIR)/.venv-swift/bin/python)
SERVER = $(if $(filter 1,$(SWIFT)),.venv-swift/installed)
# file by file, as many at once as there are cores, and four at most
PYTEST = -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: demo test quick docs bench environments test-numpy2 test-numpy1 lint coverage clean

demo: .venv/installed
	.venv/bin/recpack demo recpack-demo --overwrite

test:
	$(MAKE) --jobs 2 environments
	$(MAKE) test-numpy2
	$(MAKE) test-numpy1

environments: .venv-test/installed .venv-sdk/installed $(SERVER) $(if $(filter 1,$(MXNET)),.venv-mxnet/installed)

quick: lint
	.venv-test/bin/python $(PYTEST) --quiet --ignore tests/functional -m "not once"

# as users have it
test-numpy2: .venv-test/installed .venv-sdk/installed $(SERVER) $(if $(filter 1,$(MXNET)),.venv-mxnet/installed)
	$(SDK) $(STORE) $(if $(filter 1,$(MXNET)),RECPACK_MXNET_PYTHON=$(CURDIR)/$(ORACLE)) .venv-test/bin/python $(PYTEST) --cov --cov-report= --cov-fail-under=0

# the oldest NumPy supported, beside MXNet in one environment: what another NumPy can break
ifeq ($(MXNET),1)
test-numpy1: .venv-mxnet/installed .venv-sdk/installed $(SERVER)
	$(SDK) $(STORE) RECPACK_MXNET_PYTHON=$(CURDIR)/$(ORACLE) $(ORACLE) $(PYTEST) -m "not once"
else
test-numpy1:
	@echo "the comparison with MXNet needs Linux on x86-64 and Python 3.11 or 3.12: left out"
endif

lint: .venv-test/installed
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy

docs: .venv-docs/installed
	.venv-docs/bin/python docs/make.py

coverage:
	.venv-test/bin/python -m coverage report

bench: .venv-test/installed $(if $(filter 1,$(MXNET)),.venv-mxnet/installed)
	$(if $(filter 1,$(MXNET)),RECPACK_MXNET_PYTHON=$(CURDIR)/$(ORACLE)) .venv-test/bin/python -m benchmarks $(or $(ARGS),--full)

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) --editable '.[demo]'
	touch $@

.venv-docs/installed: pyproject.toml
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python $(PIP) --editable '.[docs]'
	touch $@

.venv-test/installed: pyproject.toml
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/python $(PIP) --editable '.[test,lint,bench,dask,ray,readers,docs]'
	touch $@

.venv-mxnet/installed: pyproject.toml | .venv-test/installed  # both build recpack here
	$(PYTHON) -m venv .venv-mxnet
	.venv-mxnet/bin/python $(PIP) mxnet==1.9.1 numpy==1.26.4 opencv-python-headless==4.11.0.86 --editable '.[test]'
	touch $@

# what is sent is compared with what the official SDK sends
.venv-sdk/installed: Makefile
	$(PYTHON) -m venv .venv-sdk
	.venv-sdk/bin/python $(PIP) 'sagemaker==2.257.*'
	touch $@

.venv-swift/installed: Makefile
	$(PYTHON) -m venv .venv-swift
	.venv-swift/bin/python $(PIP) swift==2.38.3
	touch $@

clean:
	rm -rf .venv .venv-docs docs/_build docs/generated .venv-test .venv-mxnet .venv-swift .venv-sdk recpack-demo .coverage* .pytest_cache .mypy_cache .ruff_cache
