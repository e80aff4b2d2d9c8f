# make check     everything that must hold before a commit
# make build     compile in place
# make lint      ruff, cython-lint, mypy, pyright, codespell
# make test      all tests, docstrings, the pages' Python blocks and examples/*.py
# make bench     how fast this machine runs fastnn
# make asan      the tests under AddressSanitizer and UndefinedBehaviorSanitizer; TESTS="tests/test_x.py ..." some of them
# make leaks     what LeakSanitizer finds of ours when a process ends
# make tsan      the tests under ThreadSanitizer, by clang; likewise
# make coverage  the tests, and which lines and branches of Python and of the compiled core they do not reach; likewise
# make reliability   the promises of docs/reliability.md, each as often as its figure says; ONLY="NAME ..." some of them
# make fuzz      looks for files that break what reads them: FUZZ_SECONDS each, FUZZ="model csv ..." some of them
# make docs      the site, into build/docs: any warning is an error
# make notebooks run docs/learn, and write anew what its pages print and draw
# make drawings  those of docs/architecture.md, from docs/drawings.py
# make linkcheck its links, outside ones too
# make wheel    the sdist and, from it, the wheel, into dist
# make reproducible  the wheel again, in another folder: it must be the same bytes
# make clean     remove what was built
# make bench-peers   timings against other libraries, into bench/results, README.md and docs
# make bench-tables  scores of other libraries on tables, those that bench/results/tables lacks
#
# They run in the environment that is active: pip install -e ".[test]" --group dev

PYTHON ?= python

.PHONY: check build lint test bench bench-peers bench-tables asan leaks tsan coverage fuzz reliability docs drawings linkcheck notebooks wheel reproducible clean
check: build lint test

build:
	$(PYTHON) setup.py -q build_ext --inplace

lint:
	$(PYTHON) -m ruff check .
	cython-lint fastnn
	$(PYTHON) -m mypy
	pyright
	codespell

test:
	$(PYTHON) -m pytest

# The libraries live in an environment of their own, made when pyproject.toml is newer.
PEERS = build/peers
bench-peers: $(PEERS)/installed build
	$(PEERS)/bin/python -m bench run --write
	$(PEERS)/bin/python -m bench run --isa avx2 --write
	$(PEERS)/bin/python -m bench sweep --write
	$(PEERS)/bin/python -m bench threads --write
	$(PEERS)/bin/python -m bench many --write
	$(PEERS)/bin/python -m bench report

TABLE_PEERS = build/table-peers
bench-tables: $(TABLE_PEERS)/installed build
	$(TABLE_PEERS)/bin/python -m bench tables

$(PEERS)/installed: GROUP = bench
$(TABLE_PEERS)/installed: GROUP = bench-tables
$(PEERS)/installed $(TABLE_PEERS)/installed: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --upgrade pip
	$(@D)/bin/pip install --quiet --group $(GROUP) --extra-index-url https://download.pytorch.org/whl/cpu
	touch $@

bench: build
	$(PYTHON) -m fastnn bench

# Reports end the run and are shown: pytest must leave stderr's descriptor alone.
# TESTS=tests/test_hostile_arrays.py FASTNN_CASES=100000: hostile arrays, so many of them.
TESTS = tests
ASAN = build/address-undefined
asan:
	FASTNN_SANITIZE=address,undefined $(PYTHON) setup.py -q build --build-lib $(ASAN)/lib
	cd $(ASAN)/lib && ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	    LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	    $(PYTHON) -m pytest --capture=sys $(TESTS:%=$(CURDIR)/%)

# What is lost when a process ends: of CPython a few objects, whose stacks name no file of ours.
leaks:
	FASTNN_SANITIZE=address,undefined $(PYTHON) setup.py -q build --build-lib $(ASAN)/lib
	cd $(ASAN)/lib && PYTHONPATH=. PYTHONMALLOC=malloc ASAN_OPTIONS=fast_unwind_on_malloc=0:exitcode=0 \
	    LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	    $(PYTHON) $(CURDIR)/tests/leaks.py 2> leaks.txt
	tail -n 1 $(ASAN)/lib/leaks.txt
	! grep -E '^ +#[0-9]+ .* (src|$(ASAN)/cython)/' $(ASAN)/lib/leaks.txt

# Debian: apt-get install clang-19 libomp-19-dev libclang-rt-19-dev llvm-19. LLVM's OpenMP tells the sanitizer of its barriers
# (archer), gcc's would not. Locks of Python and NumPy are seen; what their own code reads and writes is not. The sanitizer has a
# thread that makes system calls.
CLANG = clang-19
TSAN = build/thread
tsan:
	CC=$(CLANG) LDSHARED="$(CLANG) -shared" FASTNN_SANITIZE=thread $(PYTHON) setup.py -q build --build-lib $(TSAN)/lib
	cd $(TSAN)/lib && OMP_TOOL_LIBRARIES=$$($(CLANG) -print-file-name=libarcher.so) \
	    TSAN_OPTIONS=halt_on_error=1:ignore_noninstrumented_modules=1:die_after_fork=0 \
	    LD_PRELOAD=$$($(CLANG) -print-file-name=libclang_rt.tsan-x86_64.so) \
	    $(PYTHON) -m pytest --capture=sys -k "not system_call" $(TESTS:%=$(CURDIR)/%)

# Counts of an earlier run are added to: rm -rf build/coverage begins anew.
COVERAGE = build/coverage
COUNT = $(PYTHON) -m coverage
coverage: export COVERAGE_RCFILE = $(CURDIR)/pyproject.toml
coverage:
	FASTNN_COVERAGE=1 $(PYTHON) setup.py -q build --build-lib $(COVERAGE)/lib
	cd $(COVERAGE)/lib && $(COUNT) run -m pytest $(TESTS:%=$(CURDIR)/%)
	cd $(COVERAGE)/lib && $(COUNT) combine --append && $(COUNT) report --show-missing --skip-covered
	$(PYTHON) tests/reached.py

reliability: build
	PYTHONPATH=tests $(PYTHON) -m reliability $(ONLY)

# Needs atheris (pip install --group fuzz), and clang for `library`, the reader of libfastnn.
FUZZ = model ensemble csv npz npy parquet onnx library
FUZZ_SECONDS = 60
fuzz: build
	for target in $(FUZZ); do \
	    PYTHONPATH=. CLANG=$(CLANG) $(PYTHON) tests/fuzz/run.py $$target -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

docs linkcheck: build
	$(PYTHON) -m sphinx --builder $(if $(filter docs,$@),html,$@) --fail-on-warning --keep-going \
	    --doctree-dir build/doctrees docs build/$@

drawings:
	$(PYTHON) docs/drawings.py

notebooks: build
	$(PYTHON) docs/notebooks.py

# Times within the wheel are the last commit's.
BUILD = SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(PYTHON) -m build --no-isolation
wheel:
	rm -rf dist
	$(BUILD) --outdir dist

reproducible: wheel
	rm -rf build/again
	mkdir -p build/again
	tar -xzf dist/*.tar.gz -C build/again --strip-components 1
	$(BUILD) --wheel --outdir build/again/dist build/again
	cmp dist/*.whl build/again/dist/*.whl

clean:
	rm -rf build dist docs/names fastnn/*/*.so
