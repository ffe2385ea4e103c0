# make demo    the pocket suite from nothing to figures      make report   the same as one HTML page
# make unlock  what to do when Snakemake says that the folder is locked, after a run was killed
# make test    everything that CI checks                     make lint     only style and types
# CORES=8 uses more cores; CONFIG=config/mine.yaml another configuration.

PYTHON ?= python3
CORES ?= 2
CONFIG ?=

BIN := .venv/bin
READY := .venv/.ready
SNAKEMAKE := $(BIN)/snakemake --workflow-profile workflow/profiles/local \
	$(if $(CONFIG),--configfile "$(CONFIG)")
ASK := $(BIN)/python -m circuitlapse.config
# While it makes a report Snakemake cannot look up the sizes of files, and warns of that.
HARMLESS := "ignore:coroutine 'InputFiles._predicated_size_files:RuntimeWarning"

.PHONY: demo report unlock test lint

demo: $(READY)
	@$(ASK) --check $(if $(CONFIG),"$(CONFIG)")
	$(SNAKEMAKE) --cores $(CORES)

report: demo
	report=$$($(ASK) --report $(if $(CONFIG),"$(CONFIG)")) && \
	PYTHONWARNINGS=$(HARMLESS) $(SNAKEMAKE) --cores $(CORES) --report "$$report" && \
	echo "Open $$report in a browser."

unlock: $(READY)
	$(SNAKEMAKE) --cores 1 --unlock

test: lint
	$(BIN)/pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/snakemake --lint

$(READY): envs/constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint envs/constraints.txt --editable '.[dev]'
	touch $@
