#!/bin/sh
# Snakemake runs a copy of this script, in its working directory: the root of this repository,
# unless --directory names another folder; then CIRCUITLAPSE_ROOT has to say where the root is.
# Editable, so that an environment that was made once runs the code that is here now.
set -eu
root=${CIRCUITLAPSE_ROOT:-$PWD}
if [ ! -f "$root/envs/constraints.txt" ]; then
    echo "$root is not the root of Circuitlapse, which has envs/constraints.txt:" \
        "start Snakemake there, or set CIRCUITLAPSE_ROOT to that folder" >&2
    exit 1
fi
pip install --no-input --constraint "$root/envs/constraints.txt" --editable "$root"
