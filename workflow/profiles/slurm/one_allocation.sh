#!/bin/bash
# Every job on one node, inside one allocation: for very many small jobs. In the root of the
# repository, where `make` has made .venv before:
#   sbatch workflow/profiles/slurm/one_allocation.sh --configfile config/mine.yaml
# What is asked for here can be said otherwise before the script: sbatch --gpus=0 --time=2:00:00 …
# Ask for at least the largest ram_gb that `make plan` prints: a job that needs more than the
# allocation has is not refused, but killed when it runs out.
#SBATCH --job-name=circuitlapse-allocation
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=24:00:00
exec .venv/bin/snakemake "$@" --workflow-profile workflow/profiles/local \
    --cores "$SLURM_CPUS_PER_TASK" --resources gpu=1 downloads=2 "mem_mb=$SLURM_MEM_PER_NODE"
