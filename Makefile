# make check     everything that must hold before a commit
# make build     compile in place
# make lint      ruff, cython-lint, mypy
# make test      all tests, docstrings, the pages' Python blocks and examples/*.py
# make bench     timings against PyTorch, where it is installed
# make asan      the tests under AddressSanitizer and UndefinedBehaviorSanitizer
# make clean     remove what was built
#
# They run in the environment that is active: pip install -e ".[test]" --group dev

PYTHON ?= python

.PHONY: check build lint test bench asan clean
check: build lint test

build:
	$(PYTHON) setup.py -q build_ext --inplace

lint:
	$(PYTHON) -m ruff check .
	cython-lint src
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest

bench:
	$(PYTHON) bench/pytorch_steps.py

# A build of its own, so that instrumented objects never mix with others.
ASAN = build/asan
asan:
	FASTNN_SANITIZE=address,undefined $(PYTHON) setup.py -q build --build-base $(ASAN) --build-lib $(ASAN)/lib
	cd $(ASAN)/lib && ASAN_OPTIONS=detect_leaks=0 \
	    LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	    $(PYTHON) -m pytest $(CURDIR)/tests

clean:
	rm -rf build fastnn/kernels/*.so
