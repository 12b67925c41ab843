# make demo   a first look: makes a small devkit, converts it, also into an S3 server, reads it back
# make story  without AWS: records in an S3 server, two trainings, an endpoint, detections, in ten
#             minutes on two cores; the page recpack-story/index.html
# make test   the whole test suite, with NumPy 2.x and 1.26; MXNet, two S3 servers, dask, ray and the
#             official SageMaker SDK take part, and PyTorch (6 GB)
# make dev    one environment to work in: tests, linters, documentation; none of what make test adds
# make quick  while working: ruff, mypy, and the unit tests that need nothing else
# make lint   ruff, mypy, and the workflow of the public CI
# make docs   the documentation, in docs/_build/html
# make dist   the files of a release, from what is committed, in dist/: each is installed in an empty
#             environment and runs there; TESTS=1 runs the tests of the source distribution too
# make bench  measures, side by side: tables and plots in benchmarks/work/results; ARGS=--quick
# make faults  every call on files and every request to S3 fails in turn, power cuts, a faulty store:
#             takes an hour or more, and writes the tables of the documentation
# make coverage   what the last make test covered
# make lock   what is installed, written down anew: the newest releases, with hashes
# Each makes the virtual environments that it needs, in this folder.

PYTHON ?= python3
# where mxnet 1.9.1 and numpy 1.26.4 have wheels; without it the MXNet comparison is left out
MXNET ?= $(shell $(PYTHON) -c 'import platform as p, sys; print(int(p.system() == "Linux" and p.machine() == "x86_64" and sys.version_info < (3, 13)))')
# the second S3 server of the tests, OpenStack Swift, runs on Linux
SWIFT ?= $(shell $(PYTHON) -c 'import platform as p; print(int(p.system() == "Linux"))')

PIP = -m pip install --quiet --disable-pip-version-check
# NEWEST=1 installs the newest releases instead of the locked ones, but of what recpack is compared with
NEWEST ?=
newest = $(and $(NEWEST),$(filter-out peers,$(2)))
# in the folder $(1), what requirements/$(2).txt has, then recpack itself
define install
	$(PYTHON) -m venv $(1)
	$(if $(newest),sed -nE 's/^([A-Za-z0-9._-]+)==[^ ]+( ;.*)? \\$$/\1\2/p' requirements/$(2).txt > $(1)/newest.txt)
	$(1)/bin/python $(PIP) $(if $(newest),--requirement $(1)/newest.txt,--require-hashes --requirement requirements/$(2).txt)
	$(1)/bin/python $(PIP) --no-deps --no-build-isolation --editable .
	touch $(1)/installed
endef
lock = echo setuptools | .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --upgrade \
	--generate-hashes --no-header --no-annotate $(2) pyproject.toml - --output-file requirements/$(1).txt
PEERS = $(CURDIR)/.venv-peers/bin/python
MXNET_PYTHON = $(if $(filter 1,$(MXNET)),RECPACK_MXNET_PYTHON=$(PEERS))
VARIABLES = RECPACK_SDK_PYTHON=$(PEERS) $(MXNET_PYTHON) $(if $(filter 1,$(SWIFT)),RECPACK_SWIFT_PYTHON=$(PEERS))
# file by file, as many at once as there are cores, and four at most
PYTEST = -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: demo story test dev quick lint docs faults bench environments test-numpy2 test-numpy1 coverage dist lock clean

demo: .venv/installed
	.venv/bin/recpack demo recpack-demo --overwrite

story: .venv-test/installed
	.venv-test/bin/python examples/story.py recpack-story --overwrite

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
	.venv-test/bin/python -m tests.faults s3 $(or $(ARGS),--full)

dist:
	PYTHON=$(PYTHON) TESTS=$(TESTS) .ci/dist

coverage:
	.venv-test/bin/python -m coverage report

bench: .venv-test/installed .venv-peers/installed
	$(MXNET_PYTHON) .venv-test/bin/python -m benchmarks $(or $(ARGS),--full)

.venv/installed: pyproject.toml requirements/demo.txt
	$(call install,.venv,demo)

.venv-dev/installed: pyproject.toml requirements/dev.txt
	$(call install,.venv-dev,dev)

.venv-test/installed: pyproject.toml requirements/test.txt
	$(call install,.venv-test,test)

# what recpack is compared with, and the oldest NumPy; waits, because both build recpack here
.venv-peers/installed: pyproject.toml requirements/peers.txt | .venv-test/installed
	$(call install,.venv-peers,peers)

# after a change of dependencies: the newest releases within the bounds of pyproject.toml, with the
# hashes of their files
lock: .venv-lock/installed
	$(call lock,run,)
	$(call lock,demo,--extra demo)
	$(call lock,dev,--extra test --extra lint --extra docs)
	$(call lock,test,--extra test --extra bench --extra dask --extra ray --extra torch --extra ssd --extra readers \
		--extra lint)
	$(call lock,peers,--extra test requirements/peers.in)

.venv-lock/installed:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python $(PIP) uv
	touch $@

clean:
	rm -rf .venv .venv-dev .venv-test .venv-peers .venv-lock dist docs/_build docs/generated recpack-demo recpack-story .coverage* .pytest_cache .mypy_cache .ruff_cache
