# Two commands do everything on a fresh machine: `make run` and `make test`.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

.PHONY: run test check lint bench bench-more mutate deep docs format clean install clients

install: $(STAMP)

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Outrider needs Python 3.11 or newer; none was found."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	$(BIN)/python -m compileall -q gateway  # pip compiles what it installs, but not what is editable
	@touch $(STAMP)

# The scripted demo without any key; with OPENAI_API_KEY or OUTRIDER_UPSTREAM set, that upstream.
run: $(STAMP)
	@if [ -n "$$OPENAI_API_KEY$$OUTRIDER_UPSTREAM" ]; then exec $(BIN)/outrider serve; \
	else exec $(BIN)/outrider demo; fi

# A file of tests at a time for each core; `.venv/bin/pytest tests/...` runs some of them one after another.
test: $(STAMP)
	$(BIN)/pytest -n auto --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

# What docs/performance.md quotes. nginx and LiteLLM take part where they are installed (LITELLM=its command).
bench: $(STAMP)
	$(BIN)/python benchmarks/compare --rounds 2 --plots docs/plots
	$(BIN)/python benchmarks/holdback.py
	$(BIN)/python benchmarks/windows.py
	$(BIN)/python benchmarks/micro.py
	$(BIN)/python benchmarks/kinds.py
	$(BIN)/python benchmarks/streams.py

# Each of these by itself: the overlap on the scripted upstream, fan-out, overload, two workers, 200,000
# requests, the clients of upstreams, where the CPU goes, how long the event loop is held, what short texts wait
# beside long ones, and what each shape of question and answer costs.
bench-more: $(STAMP)
	$(BIN)/python benchmarks/overlap.py
	$(BIN)/python benchmarks/fanout.py
	$(BIN)/python benchmarks/overload.py
	$(BIN)/python benchmarks/workers.py
	$(BIN)/python benchmarks/soak.py
	$(BIN)/python benchmarks/clients.py
	$(BIN)/python benchmarks/profiled.py
	$(BIN)/python benchmarks/held.py
	$(BIN)/python benchmarks/beside.py
	$(BIN)/python benchmarks/shapes.py

# Planted faults in the core: which of them do the tests not see?
mutate: $(STAMP)
	$(BIN)/python tests/mutate.py

# The property tests with many examples.
deep: $(STAMP)
	OUTRIDER_TEST_DEPTH=deep $(BIN)/pytest tests/properties tests/checks/test_following.py \
		tests/wire/test_http1.py tests/server/test_bad_upstreams.py

# The clients that are not Python packages of ours (npm).
clients:
	bash tests/clients/setup.sh

# docs/places.md, docs/kinds/ and policies/schema.json, from the gateway itself.
docs: $(STAMP)
	$(BIN)/python docs/places.py
	$(BIN)/python docs/kinds.py
	$(BIN)/outrider schema > policies/schema.json

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
