#!/usr/bin/env bash
# Byte-level BPE, WordPiece and Unigram, trained and compared
# phase1/tokenizers, profile full, box cpu. Rendered by runner VERSION.
# Works by hand, from any folder: bash launch.sh. Run again, it goes on from its newest checkpoint.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The engine's environment; `runner env build axolotl` makes it. Set RUNNER_ENV to use another.
RUNNER_CACHE="${RUNNER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llm-recipes}"
RUNNER_ENV="${RUNNER_ENV:-$RUNNER_CACHE/envs/axolotl-HASH}"
PYTHON="$RUNNER_ENV/bin/python"
if [ ! -x "$PYTHON" ]; then
  echo "launch.sh: no axolotl environment at $RUNNER_ENV; make it with: runner env build axolotl" >&2
  exit 1
fi
export PATH="$RUNNER_ENV/bin:$PATH"
export PYTHONPATH="$PWD/jobs${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1
export AXOLOTL_DO_NOT_TRACK=1 DO_NOT_TRACK=1
export TOKENIZERS_PARALLELISM=false
export CUDA_VISIBLE_DEVICES=

step() { echo "=== $1"; }
# Interrupted, the trainer saves and ends well; without these the next step would begin.
trap 'exit 130' INT
trap 'exit 143' TERM

step compare
TOKENIZERS_PARALLELISM=true "$PYTHON" jobs/compare_tokenizers.py tokenizers.yaml

# Drawn by the runner's own Python, which has matplotlib; by hand, say where that is: RUNNER_PYTHON=.venv/bin/python
step plot
if [ -n "${RUNNER_PYTHON:-}" ]; then
  "$RUNNER_PYTHON" -m runner.report.tokenizer_plots output/table.json output
else
  echo "launch.sh: no plots without RUNNER_PYTHON" >&2
fi
step done
