#!/bin/sh
# Speed of one model of the published size on a GPU: velocities, trajectories and decoding; about two minutes.
# Usage: benchmarks/gpu/inference.sh [FOLDER] [--reduced]; --reduced is a dry run with a small model on the CPU.
set -eu
folder=${1:-${OUT:-.}}
mkdir -p "$folder"
if [ "${2:-}" = --reduced ]; then
    set -- --device cpu --model studio --duration 2 --steps 2 --batch 1 2 --rounds 1
else
    set -- --device cuda --precision bf16 --batch 1 4 16 --rounds 5
fi
prismaudio bench model --compile --json "$folder/inference.json" "$@"
