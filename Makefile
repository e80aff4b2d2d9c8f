# make check     everything that must hold before a commit
# make build     compile in place
# make lint      ruff, cython-lint, mypy
# make test      all tests, docstrings, the pages' Python blocks and examples/*.py
# make bench     how fast this machine runs fastnn
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
	$(PYTHON) -m fastnn bench

# A report ends the run and is shown: pytest must leave stderr's descriptor alone.
ASAN = build/address-undefined
asan:
	FASTNN_SANITIZE=address,undefined $(PYTHON) setup.py -q build --build-lib $(ASAN)/lib
	cd $(ASAN)/lib && ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	    LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	    $(PYTHON) -m pytest --capture=sys $(CURDIR)/tests

clean:
	rm -rf build fastnn/kernels/*.so
