#!/bin/sh
# Speed of the foundation stage on a GPU: 64 clips of 9 s, bf16-mixed, moving averages; about three minutes.
# Usage: benchmarks/gpu/training.sh [FOLDER] [--reduced]; --reduced is a dry run with a small network on the CPU.
# Each measurement is written when it is done, and has a limit of its own, so that a slow one costs no other.
set -eu
folder=${1:-${OUT:-.}}
reduced=${2:-}
mkdir -p "$folder"

measure() { # NAME SECONDS OPTIONS...
    name=$1
    limit=$2
    shift 2
    timeout "$limit" prismaudio bench train --rounds 3 --kernels 25 --json "$folder/$name.json" --force "$@" ||
        echo "$name: exit code $?"
}

df -h /dev/shm # where the processes that read put their batches: 100 MB each
if [ "$reduced" = --reduced ]; then
    set -- --reduced --device cpu --batch-size 4 --steps 4 --duration 2 --workers 1
    measure training 300 --compile --warmup 4 "$@"
    measure training-eager 60 --warmup 2 "$@"
    exit
fi
set -- --device cuda --batch-size 64
measure training 110 --compile --warmup 8 --steps 20 "$@"
measure training-eager 40 --warmup 3 --steps 10 "$@"
measure training-padded 60 --compile --warmup 20 --steps 15 --short 0.125 "$@" # an eighth of the clips is shorter
