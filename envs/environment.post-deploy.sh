#!/bin/sh
# Runs in the folder that Snakemake was started in, which is the root of this repository.
set -eu
pip install --no-input --constraint envs/constraints.txt .
