# Two commands matter: `make reproduce` and `make test`. Both work on a fresh clone, without a GPU or an account.
PYTHON ?= python3
VENV ?= .venv
VERL ?= .venv-bench
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# The pinned torch is a CPU build for Python 3.11; newer Pythons test everything but the torch column.
PY311 = $(shell $(PYTHON) -c 'import sys; print(int(sys.version_info[:2] == (3, 11)))')
TEST_EXTRAS = $(if $(filter 1,$(PY311)),figures$(comma)llm$(comma)alfworld$(comma)webshop$(comma)dev,figures$(comma)dev)
comma := ,

.PHONY: help reproduce demo test lint types unit bench gallery docs clean
help:
	@echo "make reproduce  check the claims at quick size, draw the figures, write results/report.html"
	@echo "make demo       train a small language model on easy ALFWorld games, with success before and after"
	@echo "make test       lint, types, import arrows and tests (installs what they need)"
	@echo "make bench      time the library beside its peers (installs the bench extra, and verl apart)"
	@echo "make gallery    copy figures and captions into docs/gallery, answers into docs/questions"
	@echo "make docs       write the reference pages from the registries"

$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.figures: $(VENV)/.python pyproject.toml constraints.txt
	@echo "installing creditsim with its figures extra into $(VENV)"
	$(PIP) -e '.[figures]'
	@touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml constraints.txt
	@echo "installing creditsim and everything its tests need into $(VENV)"
	$(PIP) -e '.[$(TEST_EXTRAS)]'
	@touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml constraints.txt
	@echo "installing creditsim with its llm and alfworld extras into $(VENV)"
	$(PIP) -e '.[llm,alfworld]'
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	$(PIP) -e '.[bench]'
	@touch $@

# verl needs an older transformers than ours; where it cannot be installed, its lines are not judged.
$(VERL)/.verl: benchmarks/verl-requirements.txt
	@echo "installing verl into $(VERL)"
	-$(PYTHON) -m venv $(VERL) \
	  && $(VERL)/bin/python -m pip install --quiet --disable-pip-version-check -r $< -e . \
	  && $(VERL)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps verl==0.9.1 \
	  && touch $@

reproduce: $(VENV)/.figures
	$(BIN)/creditsim reproduce --quick

demo: $(VENV)/.demo
	rm -rf results/demo
	$(BIN)/creditsim bridge train --preset demo --out results/demo

test: $(VENV)/.test lint types unit

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.test
	$(BIN)/pyright --pythonpath $(BIN)/python

unit: $(VENV)/.test
	CREDITSIM_REQUIRE_ALL=$(PY311) $(BIN)/pytest -n auto --dist loadfile

bench: $(VENV)/.bench $(VERL)/.verl
	$(BIN)/python -m benchmarks --verl $(VERL)/bin/python

gallery: $(VENV)/.figures
	$(BIN)/creditsim figures --gallery docs/gallery --questions docs/questions

docs: $(VENV)/.figures
	$(BIN)/python -m creditsim.reference docs

clean:
	rm -rf results build dist
