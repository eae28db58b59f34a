# Every target works on a fresh clone: what it needs is installed first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# QUICK=1 makes a benchmark a short run that only shows that it works.
QUICK_FLAG = $(if $(QUICK),--quick)
JSON_FLAG = $(if $(JSON),--json "$(JSON)")

.PHONY: demo test test-system transcripts faults lint types bench bench-bulk bench-peers bench-limits bench-overload \
	bench-images bench-web lock setup clean

demo: setup ## set everything up and run the main job on embedded services
	$(BIN)/media-atproto demo

test: setup ## run the tests of everything that is promised, against embedded services
	$(BIN)/pytest -n 4 --dist loadscope --durations 20

test-system: setup ## run the tests that boot programs, install, deploy, and run every other target
	$(BIN)/pytest -n 3 --dist loadscope --durations 20 tests/system

transcripts: setup ## run the commands whose output the documentation shows, and update the pages
	$(BIN)/python -m tests.transcripts

faults: setup ## break real services and workers under a stream of saves; ONLY="NAME ..." for some, QUICK=1 for two
	$(BIN)/python -m tests.faults $(foreach name,$(ONLY),--only $(name)) $(if $(QUICK),--quick)

lint: setup ## check style and the import direction
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: setup ## check types
	$(BIN)/mypy

bench: setup ## measure, beside ceilings and baselines of the same run; JSON=FILE for the figures too
	$(BIN)/python -m bench main_job $(QUICK_FLAG) $(JSON_FLAG)

bench-bulk: setup ## measure backfill, restore and audit the same way; JSON=FILE as well
	$(BIN)/python -m bench bulk_job $(QUICK_FLAG) $(JSON_FLAG)

bench-peers: setup ## compare with sharp and with a Node script on the same files and documents; JSON=FILE as well
	$(BIN)/python -m bench peer_rates $(QUICK_FLAG) $(JSON_FLAG)

bench-limits: setup ## publish 2,500 items to a PDS that limits what it takes; fails if it refused a write
	$(BIN)/python -m bench rate_limits $(QUICK_FLAG)

bench-overload: setup ## measure what happens when more is waiting than can be done
	$(BIN)/python -m bench overload $(QUICK_FLAG)

bench-images: setup ## measure the memory that the worst images take of a worker, beside its ceiling
	$(BIN)/python -m bench image_memory $(QUICK_FLAG)

bench-web: setup ## measure what the status page asks of a million documents; JSON=FILE as well
	$(BIN)/python -m bench status_page $(QUICK_FLAG) $(JSON_FLAG)

setup: $(VENV)/.ready

# What has no wheel is built by the build dependencies that are locked; pip would fetch its own.
$(VENV)/.ready: requirements-build.lock requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/it")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-build.lock
	$(BIN)/python -m pip install --quiet --require-hashes --no-build-isolation -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

lock: ## pin the dependencies anew, with hashes (needs uv)
	uv pip compile --quiet --universal --generate-hashes --all-extras --python-version 3.11 \
		--upgrade pyproject.toml -o requirements.lock
	echo setuptools | uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--upgrade - -o requirements-build.lock

clean: ## remove what the targets made
	rm -rf $(VENV) .stack .mypy_cache .pytest_cache .ruff_cache .hypothesis
