# make demo                  train the pocket suite, analyse it, draw all figures
# make plan                  what a run costs, before it starts
# make audit                 what a hub serves, before anything is downloaded
# make figure FIG=transfer   one figure, and what it needs
# make published CLONE=DIR   the authors' results as our figures (see docs)
# make report                the demo, and all figures on one HTML page
# make explorer              the demo, and one HTML page to look into its circuits
# make verify                is every result as the run wrote it? (see docs)
# make unlock                after a killed run: "Directory cannot be locked"
# make cluster               the run on a Slurm cluster; see docs/cluster.md
# make restart-cluster       the same, after Snakemake was killed
# make lint                  style and types only
# make docs                  the documentation site, in site/
# make test                  everything that CI checks
# make zoo                   score methods on models whose circuits are known
# make browser              Chromium for the tests of the explorer
# make help                  these lines
#
# CONFIG=config/mine.yaml    another configuration (config/pythia.yaml, ...)
# CORES=8                    more cores than two
# REPAIR=1                   let `make verify` make again what differs
# GPU=h100                   the GPU that `make plan` counts with

PYTHON ?= python3
CORES ?= 2
CONFIG ?=
REPAIR ?=
GPU ?= a100
CLUSTER_PROFILE ?= workflow/profiles/slurm

ifeq ($(shell echo "$(CORES)" | grep -Ex "all|0*[1-9][0-9]*"),)
$(error CORES=$(CORES): expected a whole number of at least 1, or all)
endif

# A checkout has an environment of its own, in .venv. The folder of `circuitlapse demo` uses the one
# that made it.
ifneq ($(wildcard pyproject.toml),)
BIN := .venv/bin
READY := .venv/.ready
else
BIN := $(patsubst %/,%,$(dir $(or $(shell command -v circuitlapse),\
  $(error Activate the environment with the command circuitlapse first))))
READY :=
endif
CONFIGURED := $(if $(CONFIG),--configfile "$(CONFIG)")
SNAKEMAKE := $(BIN)/snakemake --workflow-profile workflow/profiles/local $(CONFIGURED)
ON_SLURM := $(BIN)/snakemake --workflow-profile "$(CLUSTER_PROFILE)" $(CONFIGURED)
ASK := $(BIN)/python -m circuitlapse.config
AUDIT := $(BIN)/python -m circuitlapse.audit
MANIFEST := $(BIN)/python -m circuitlapse.manifest
CHECK = @$(ASK) --check $(if $(CONFIG),"$(CONFIG)")
# Snakemake warns of this when it writes a report; it has no effect.
HARMLESS := "ignore:coroutine 'InputFiles._predicated_size_files:RuntimeWarning"

.PHONY: demo help plan audit figure published report explorer verify unlock cluster restart-cluster test lint docs browser zoo

demo: $(READY)
	$(CHECK)
	@$(AUDIT) --quick $(if $(CONFIG),"$(CONFIG)")
	$(SNAKEMAKE) --cores $(CORES)

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

report: demo
	report=$$($(ASK) --report $(if $(CONFIG),"$(CONFIG)")) && \
	PYTHONWARNINGS=$(HARMLESS) $(SNAKEMAKE) --cores $(CORES) --report "$$report" && \
	$(MANIFEST) $(if $(CONFIG),"$(CONFIG)") --made report "$$report" && \
	echo "Open $$report in a browser."

explorer: $(READY)
	@$(AUDIT) --quick $(if $(CONFIG),"$(CONFIG)")
	$(SNAKEMAKE) --cores $(CORES) build_explorer

plan: $(READY)
	@$(BIN)/python -m circuitlapse.plan --gpu $(GPU) $(if $(CONFIG),"$(CONFIG)")

audit: $(READY)
	@$(AUDIT) $(if $(CONFIG),"$(CONFIG)")

figure: $(READY)
	@$(AUDIT) --quick $(if $(CONFIG),"$(CONFIG)")
	@figure=$$($(ASK) --figure "$(FIG)" $(if $(CONFIG),"$(CONFIG)")) && \
	$(SNAKEMAKE) --cores $(CORES) "$$figure.pdf" "$$figure.png"

published: $(READY)
	$(CHECK)
	$(BIN)/snakemake published --cores $(CORES) --workflow-profile workflow/profiles/local \
	--configfile "$(or $(CONFIG),config/pythia.yaml)" --config "compare={published: \"$(CLONE)\"}"

# On a cluster, REPAIR=cluster submits the jobs.
verify: $(READY)
	$(if $(filter-out 0 1 cluster,$(REPAIR))$(word 2,$(REPAIR)),\
	$(error REPAIR=$(REPAIR): expected 1, cluster or 0))
	@$(MANIFEST) $(if $(CONFIG),"$(CONFIG)") $(if $(filter-out 0,$(REPAIR)),--repair \
	$(if $(filter cluster,$(REPAIR)),$(ON_SLURM),$(SNAKEMAKE) --cores $(CORES)))

unlock: $(READY)
	@$(BIN)/python -m circuitlapse.processes
	$(CHECK)
	$(SNAKEMAKE) --cores 1 --unlock

cluster: $(READY)
	$(CHECK)
	@$(AUDIT) --quick $(if $(CONFIG),"$(CONFIG)")
	workflow/profiles/slurm/run.sh $(ON_SLURM)

restart-cluster: $(READY)
	$(CHECK)
	workflow/profiles/slurm/run.sh --restart $(ON_SLURM)

test: lint docs
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# The explorer is tested in Chromium: the one of the system, or else this one.
browser: $(READY)
	command -v chromium || $(BIN)/playwright install --with-deps chromium

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/mypy
	$(BIN)/snakemake --lint

# Two minutes; see docs/zoo.md.
zoo: $(READY)
	@$(BIN)/python -m benchmarks.zoo

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

ifdef READY
$(READY): envs/constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint envs/constraints.txt --editable '.[dev]'
	touch $@
endif
