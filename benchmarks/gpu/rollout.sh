#!/bin/sh
# Seconds of one update of Fast-GRPO at the published size on a GPU; about a minute.
# Usage: benchmarks/gpu/rollout.sh [FOLDER] [--reduced]; --reduced is a dry run with a small network on the CPU.
set -eu
folder=${1:-${OUT:-.}}
mkdir -p "$folder"
if [ "${2:-}" = --reduced ]; then
    set -- --device cpu --size small --clips 2 --group-size 4 --duration 2 --rounds 1
else
    set -- --device cuda
fi
prismaudio bench update --json "$folder/rollout.json" "$@"
