#!/bin/sh
# Snakemake runs a copy of this script, in its working directory: the root of a checkout, unless
# --directory names another folder; then CIRCUITLAPSE_ROOT has to say where the root is.
# Editable, so that an environment that was made once runs the code that is here now.
set -eu
root=${CIRCUITLAPSE_ROOT:-$PWD}
if [ ! -f "$root/pyproject.toml" ]; then
    echo "$root is not a checkout of Circuitlapse, which has pyproject.toml:" \
        "start Snakemake there, or set CIRCUITLAPSE_ROOT to that folder" >&2
    exit 1
fi
pip install --no-input --constraint "$root/envs/constraints.txt" --editable "$root"
