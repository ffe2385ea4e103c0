#!/bin/sh
# Run one Snakemake at a time in this folder, on a cluster. With --restart, first clean up after a
# killed one: cancel its jobs, wait until they are gone, and unlock the folder.
#   run.sh [--restart] SNAKEMAKE ARGUMENTS...
set -eu
restart=
if [ "$1" = --restart ]; then
    restart=yes
    shift
fi

# The lock is held until Snakemake ends, however it ends. On a file system without locks we go on
# without one.
mkdir -p .snakemake
exec 9>.snakemake/cluster.lock
flock --timeout 3 --conflict-exit-code 75 9 || [ $? -ne 75 ] || {
    echo "A run is still active in $PWD; stop it first (Ctrl-C)." >&2
    exit 1
}

# Jobs of this user, this workflow and this folder only.
left_behind() {
    queue=$(squeue --noheader --user "$(id -un)" --format '%A|%j|%Z')
    printf '%s\n' "$queue" | awk -F '|' -v folder="$(pwd -P)" \
        '$2 ~ /^circuitlapse_/ && $3 == folder {print $1}'
}

if [ "$restart" ]; then
    jobs=$(left_behind)
    while [ "$jobs" ]; do
        echo "Cancelling what was left behind:" $jobs
        scancel --quiet $jobs || true # one that just ended is no error
        sleep 2
        jobs=$(left_behind)
    done
    "$@" --unlock
fi
exec "$@"
