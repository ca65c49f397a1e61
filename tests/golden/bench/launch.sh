#!/usr/bin/env bash
# Llama-2 13B served by replicas, by tensor parallel and by transformers
# phase3/bench-13b, profile full, box 2xh100. Rendered by runner VERSION.
# Works by hand, from any folder: bash launch.sh. Run again, it goes on from its newest checkpoint.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The engine's environment; `runner env build vllm` makes it. Set RUNNER_ENV to use another.
RUNNER_CACHE="${RUNNER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llm-recipes}"
RUNNER_ENV="${RUNNER_ENV:-$RUNNER_CACHE/envs/vllm-HASH}"
PYTHON="$RUNNER_ENV/bin/python"
if [ ! -x "$PYTHON" ]; then
  echo "launch.sh: no vllm environment at $RUNNER_ENV; make it with: runner env build vllm" >&2
  exit 1
fi
export PATH="$RUNNER_ENV/bin:$PATH"
export PYTHONPATH="$PWD/jobs${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1
export AXOLOTL_DO_NOT_TRACK=1 DO_NOT_TRACK=1
export TOKENIZERS_PARALLELISM=false
export PYTORCH_ALLOC_CONF="${PYTORCH_ALLOC_CONF:-expandable_segments:True}"

step() { echo "=== $1"; }
# Interrupted, the trainer saves and ends well; without these the next step would begin.
trap 'exit 130' INT
trap 'exit 143' TERM
export VLLM_NO_USAGE_STATS=1

# Starts each endpoint, runs its cells and stops it; cells that have a result are not run again.
step bench
failed=0
"$PYTHON" -m bench run bench.json || failed=$?
if [ "$failed" -gt 128 ]; then exit "$failed"; fi

# Drawn by the runner's own Python, which has matplotlib; by hand, say where that is: RUNNER_PYTHON=.venv/bin/python
step plot
if [ -n "${RUNNER_PYTHON:-}" ]; then
  "$RUNNER_PYTHON" -m runner.report.bench_plots output/table.json output
else
  echo "launch.sh: no plots without RUNNER_PYTHON" >&2
fi
if [ "$failed" -ne 0 ]; then exit "$failed"; fi
step done
