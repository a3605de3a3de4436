# Two commands do everything on a fresh machine: `make demo` and `make test`.
# A C++20 compiler is needed to build (Debian: apt-get install g++); cmake and ninja come from PyPI when they are absent.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := PIP_CONSTRAINT=$(abspath constraints.txt) PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
comma  := ,
SOURCES := CMakeLists.txt pyproject.toml constraints.txt $(shell find csrc -type f 2>/dev/null)

.PHONY: demo test lint format install docs docs-html native-test neon-test sanitize wheel clean bench-memory bench-mnist bench-kernels bench-step bench-images

demo: $(VENV)/.installed
	$(BIN)/mezzotint demo

# A process a core, with a thread each: two that share cores would wait for one another.
test: $(VENV)/.dev lint native-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(find csrc examples -name '*.cpp' -o -name '*.hpp')

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(find csrc examples -name '*.cpp' -o -name '*.hpp')

# Editable for Python; the native library is compiled and installed beside it. Compiled anew when csrc/ changes.
# PyTorch comes from its index of CPU builds: on Linux, PyPI's draws gigabytes of CUDA packages.
# For another build or a mirror: make install TORCH_INDEX=...
define install
@command -v g++ >/dev/null || command -v clang++ >/dev/null || { echo "A C++20 compiler is needed: apt-get install g++"; exit 2; }
@echo "Installing PyTorch and what else is needed into $(VENV), then compiling the native library: 2 to 5 minutes."
@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
$(PIP) install --quiet --retries 0 --index-url $(TORCH_INDEX) torch
$(PIP) install --quiet scikit-build-core nanobind ninja cmake
$(PIP) install --quiet --no-build-isolation --editable '.[$(1)]'
@touch $(VENV)/.installed
endef

install: $(VENV)/.installed

$(VENV)/.installed: $(SOURCES)
	$(call install,fast)

# With what tests, checks and documentation need besides.
$(VENV)/.dev: $(SOURCES)
	$(call install,fast$(comma)dev)
	@touch $@

# The C++ tests of the native library, without Python; `sanitize` runs them under ASan and UBSan.
native-test: $(VENV)/.dev
	$(BIN)/cmake -S . -B build/dev -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DPython_EXECUTABLE=$(abspath $(BIN))/python -DMEZZOTINT_DEV=ON >/dev/null
	$(BIN)/cmake --build build/dev
	$(BIN)/ctest --test-dir build/dev --output-on-failure

sanitize: $(VENV)/.dev
	$(BIN)/cmake -S . -B build/sanitize -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DPython_EXECUTABLE=$(abspath $(BIN))/python -DMEZZOTINT_SANITIZE=ON >/dev/null
	$(BIN)/cmake --build build/sanitize
	$(BIN)/ctest --test-dir build/sanitize --output-on-failure

# The same tests for AArch64, with Debian's cross compiler and QEMU's user mode.
neon-test: $(VENV)/.dev
	@command -v aarch64-linux-gnu-g++ >/dev/null && command -v qemu-aarch64 >/dev/null || { echo "A cross compiler and an emulator are needed: apt-get install g++-aarch64-linux-gnu qemu-user"; exit 2; }
	$(BIN)/cmake -S . -B build/neon -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DCMAKE_TOOLCHAIN_FILE=csrc/toolchains/aarch64.cmake -DMEZZOTINT_BINDINGS=OFF -DMEZZOTINT_DEV=ON >/dev/null
	$(BIN)/cmake --build build/neon
	$(BIN)/ctest --test-dir build/neon --output-on-failure

wheel: $(VENV)/.dev
	$(BIN)/python -m build --outdir dist

docs: $(VENV)/.dev
	$(BIN)/python docs/build_reference.py
	$(BIN)/python docs/build_guide.py
	$(BIN)/python docs/build_pictures.py
	$(BIN)/python docs/build_results.py
	$(BIN)/python docs/build_overview.py
	$(BIN)/python docs/build_graphs.py

# The site; warnings are errors. `docs` above makes the pages and pictures that are kept in the repository.
docs-html: $(VENV)/.dev
	$(BIN)/sphinx-build -q -W --keep-going -b html docs site
	@echo "site/index.html"

bench-memory: $(VENV)/.dev
	$(BIN)/python bench/memory.py

bench-mnist: $(VENV)/.dev
	$(BIN)/python bench/mnist_table.py

bench-images: $(VENV)/.dev
	$(BIN)/python bench/images.py

bench-kernels: $(VENV)/.dev
	$(BIN)/python bench/kernels.py

bench-step: $(VENV)/.dev
	for network in resnet50 wrn_28_2; do \
	  $(BIN)/mezzotint bench kernels --network $$network -o bench/results && \
	  $(BIN)/mezzotint bench train --network $$network -o bench/results && \
	  $(BIN)/mezzotint bench train --network $$network --mode eval --batch 64 -o bench/results || exit; \
	done

clean:
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
