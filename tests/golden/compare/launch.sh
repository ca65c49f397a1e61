#!/usr/bin/env bash
# Instruction-tuned models, by size and by method
# phase4/compare-instruct, profile full, box cpu. Rendered by runner VERSION.
# Works by hand, from any folder: bash launch.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# The runner itself: of the environment that RUNNER_ENV names, else the one on PATH. Nothing here is downloaded.
RUNNER="${RUNNER_ENV:+$RUNNER_ENV/bin/python -m }runner"
export HF_HUB_OFFLINE=1
export CUDA_VISIBLE_DEVICES=

step() { echo "=== $1"; }
trap 'exit 130' INT
trap 'exit 143' TERM

step compare
rm -rf output
$RUNNER compare --config compare.json --out output
step done
