#!/usr/bin/env bash
# Full finetune of Llama-2 13B on Alpaca, ZeRO-3 with optimizer offload
# phase4/full-13b, profile full, box slurm-4x8xh100. Rendered by runner VERSION.
# Starts launch.sh on 4 nodes: bash hosts.sh HOSTFILE, whose first 4 lines name them; mpirun's `slots=8` is passed over.
# They need ssh without a password, this very folder and the engine's environment at the same paths, and no scheduler.
# without pipefail: what keeps a pipe open ends by a signal
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")"
# set RSH to another way onto a host: it is given the host's name and one word of shell
RSH="${RSH:-ssh -o BatchMode=yes}"
[ -r "${1:-}" ] || { echo "usage: bash hosts.sh HOSTFILE" >&2; exit 2; }
mapfile -t hosts < <(sed 's/#.*//' "$1" | awk 'NF {print $1}' | head -n 4)
[ -n "${hosts[3]:-}" ] || { echo "error: $1 names fewer than 4 hosts" >&2; exit 2; }

# what is told to each node beside its number; of a run's variables those that matter there
told="MASTER_ADDR=$(printf %q "${MASTER_ADDR:-${hosts[0]}}") MASTER_PORT=${MASTER_PORT:-29400}"
for name in RUNNER_CACHE RUNNER_ENV HF_HOME HF_TOKEN $(compgen -e | grep -E '^(NCCL|GLOO|TORCH)_' || true); do
  [ -z "${!name:-}" ] || told+=" $name=$(printf %q "${!name}")"
done

started=()
# the first process of each pipe keeps the other end open, the last is on the host
end() { trap - EXIT; kill $(jobs -p) "${started[@]}" 2> /dev/null || true; }
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
for rank in "${!hosts[@]}"; do
  # Comes by stdin, so that no secret stands among a host's processes; and when that ends, whatever the reason, so does
  # all that was started there.
  part="{ set -m; cd $(printf %q "$PWD") && { $told NODE_RANK=$rank bash launch.sh < /dev/null & }; run=\$!
    { cat > /dev/null; kill -TERM -- -\$run; } 2> /dev/null & wait \$run; code=\$?; kill -- -\$! 2> /dev/null; exit \$code; }"
  { printf '%s\n' "$part"; exec tail --pid=$$ -f /dev/null 2> /dev/null; } | $RSH "${hosts[$rank]}" "bash -s" &
  started+=($!)
done
# the first that fails ends the others
for _ in "${hosts[@]}"; do wait -n; done
