#!/usr/bin/env bash
# Full finetune of Llama-2 13B on Alpaca, ZeRO-3 with optimizer offload
# phase4/full-13b, profile full, box slurm-4x8xh100. Rendered by runner VERSION.
# One node's part of 4, in a folder that all of them share. A scheduler starts it on each; by hand,
#   bash hosts.sh HOSTFILE                                   over ssh, on the first 4 hosts of a file, one a line
#   NODE_RANK=0 MASTER_ADDR=first-node bash launch.sh        or on each node itself: 0 on the first, 1 on the next
# Run again, it goes on from its newest checkpoint.
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
export PYTORCH_ALLOC_CONF="${PYTORCH_ALLOC_CONF:-expandable_segments:True}"

# Which node this is, and where all meet: the first one's address and port.
NODE_RANK="${NODE_RANK:-${SLURM_NODEID:-}}"
if [ -z "$NODE_RANK" ] || [ -z "${MASTER_ADDR:-}" ]; then
  echo "error: this is one node's part of 4: set NODE_RANK and MASTER_ADDR, or use hosts.sh" >&2
  exit 2
fi
MASTER_PORT="${MASTER_PORT:-29400}"
RUN_ID="${RUN_ID:-$(basename "$PWD")}"
# others wait for the first, which may have a model to make or to fetch before it comes
[ "$NODE_RANK" = 0 ] && FIRST=true || FIRST=false
MEET=(--rdzv_backend c10d --rdzv_conf "is_host=$FIRST,join_timeout=1800,read_timeout=1800")
alone() { [ "$NODE_RANK" != 0 ] || "$@"; }
step() { alone echo "=== $1"; }
# Interrupted, the trainer saves and ends well; without these the next step would begin.
trap 'exit 130' INT
trap 'exit 143' TERM

step train
"$PYTHON" -m torch.distributed.run --nnodes 4 --nproc_per_node 8 "${MEET[@]}" \
  --rdzv_id "$RUN_ID-0" --rdzv_endpoint "$MASTER_ADDR:$((MASTER_PORT + 0))" -m axolotl.cli.train axolotl.yaml
step done
