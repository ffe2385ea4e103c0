#!/bin/bash
# All jobs on one node, inside one allocation: for very many small jobs. Run `make` once, so that
# .venv exists, then in the root of the repository:
#   sbatch workflow/profiles/slurm/one_allocation.sh --configfile config/mine.yaml
# Options before the script override those below: sbatch --gpus=0 --time=2:00:00 …
# Request at least the largest ram_gb that `make plan` prints: Slurm starts a job that needs more
# than the allocation has, and kills it when memory runs out.
#SBATCH --job-name=circuitlapse-allocation
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=24:00:00
exec .venv/bin/snakemake "$@" --workflow-profile workflow/profiles/local \
    --cores "$SLURM_CPUS_PER_TASK" --resources downloads=2 "mem_mb=$SLURM_MEM_PER_NODE"
