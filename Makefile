# make demo    the pocket suite from nothing to figures      make report   the same as one HTML page
# make test    everything that CI checks                     make lint     only style and types
# CORES=8 uses more cores; CONFIG=config/mine.yaml another configuration.

PYTHON ?= python3
CORES ?= 2
CONFIG ?=

BIN := .venv/bin
READY := .venv/.ready
SNAKEMAKE := $(BIN)/snakemake --workflow-profile workflow/profiles/local \
	$(if $(CONFIG),--configfile $(CONFIG))

.PHONY: demo report test lint

demo: $(READY)
	$(SNAKEMAKE) --cores $(CORES)

report: demo
	report=$$($(BIN)/python -m circuitlapse.config --report $(CONFIG)) && \
	$(SNAKEMAKE) --cores $(CORES) --report "$$report" && \
	echo "Open $$report in a browser."

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
