#!/usr/bin/env bash
# Compute-optimal at 5e20 FLOPs, 1B to 7B
# phase2/compute-optimal-2b-7b, profile full, box 8xh100. Rendered by runner VERSION.
# Works by hand, from any folder: bash launch.sh. Run again, it goes on with the children that are not finished.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# The runner itself: of the environment that RUNNER_ENV names, else the one on PATH.
RUNNER="${RUNNER_ENV:+$RUNNER_ENV/bin/python -m }runner"

step() { echo "=== $1"; }
trap 'exit 130' INT
trap 'exit 143' TERM

step children
failed=0
MAKEFLAGS= make --no-print-directory --keep-going --jobs=1 --file=sweep.mk children || failed=$?

step collect
mkdir -p output
$RUNNER collect --profile full --run . --out output/runs.csv phase2/compute-optimal-2b-7b
[ "$failed" -eq 0 ] || exit "$failed"

step fit
# what can't be fitted is told in the log; the table stays what it is
$RUNNER fit output/runs.csv --law isoflop --out output/isoflop || echo "no fit of isoflop"
step done
