# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDY_SEED ?= 0
JOBS ?= 2
ONLY ?=

.PHONY: demo study test lint types bench docs clean setup

.DEFAULT_GOAL := help
.PHONY: help
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

# torch first: constraints.txt pins it, and a CPU wheel found locally is used instead of a build with CUDA.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; choose one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing torch (constraints.txt: $$(grep '^torch==' constraints.txt)); a local wheel is used where pip finds one"
	@$(BIN)/python -m pip install -q --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	@$(BIN)/python -c 'import torch; print("torch", torch.__version__, "on", "CUDA" if torch.cuda.is_available() else "CPU")'
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[train,sandbox,ray]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[train,sandbox,ray,lora,datasets,dev]'
	@touch $@

## make demo    distil the miniature's teacher into its student, with every stage real (at most 5 minutes)
demo: $(VENV)/.installed
	@$(BIN)/potstill run recipes/demo.yaml --run runs/demo
	@$(BIN)/potstill run recipes/counterfactual_demo.yaml --run runs/demo/counterfactual

## make study   all arms, 5 seeds, larger test sets (some hours); STUDY_SEED=n draws everything anew;
##              ONLY=METHOD runs one method's arms, ONLY=levers the levers around SCoTD (25 minutes of one core)
study: $(VENV)/.installed
ifeq ($(ONLY),levers)
	@$(BIN)/potstill run recipes/levers.yaml --run runs/levers --set seed=$(STUDY_SEED) --force
else
	@$(BIN)/python scripts/study.py --run runs/study --seed $(STUDY_SEED) $(if $(ONLY),--only $(ONLY))
endif

## make test    the default tests in JOBS=2 processes (under 5 minutes on two cores)
test: $(VENV)/.installed-test
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

## make lint    ruff: rules and format
lint: $(VENV)/.installed-test
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

## make types   mypy, strict
types: $(VENV)/.installed-test
	@$(BIN)/mypy

## make bench   the benchmarks, results in benchmarks/results/; ONLY=NAME runs one
bench: $(VENV)/.installed-test
	@$(BIN)/python -m benchmarks $(ONLY)

## make docs    write docs/cli.md from the real help texts
docs: $(VENV)/.installed
	@$(BIN)/python scripts/write_cli_docs.py

## make clean   remove the environment, caches and runs
clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
