#!/usr/bin/env bash
# Speed of the foundation stage on one GPU, in at most three minutes: eager, compiled, and what waits for the device.
#
#   bash benchmarks/gpu/training.sh [FOLDER]        results in FOLDER, $OUT or ./gpu-training, each as soon as it is there
#   bash benchmarks/gpu/training.sh --reduced       the same commands on a CPU with a small network
#
# On one H100: 64 clips of 9 s, bf16-mixed, moving averages, fused AdamW, features read from files by eight processes.
set -uo pipefail

reduced=()
if [[ "${1:-}" == --reduced ]]; then
    reduced=(--reduced --device cpu --batch-size 4 --steps 4 --duration 2 --workers 1)
    shift
fi
out=${1:-${OUT:-gpu-training}}
mkdir -p "$out"
export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-$out/inductor} # the second compiled run finds the code of the first

measure() { # NAME SECONDS OPTIONS...
    local name=$1 limit=$2
    shift 2
    echo "== $name"
    timeout "$limit" python -m prismaudio bench train --rounds 3 --kernels 25 "$@" \
        --json "$out/$name.json" --force 2>&1 | tee "$out/$name.txt"
    echo "exit code ${PIPESTATUS[0]} after $SECONDS s" | tee -a "$out/$name.txt"
}

df -h /dev/shm "${TMPDIR:-/tmp}" | tee "$out/machine.txt"
if [[ ${#reduced[@]} -gt 0 ]]; then
    measure compiled 300 --compile --warmup 4 "${reduced[@]}"
    measure eager 60 --warmup 2 "${reduced[@]}"
else
    nvidia-smi | tee -a "$out/machine.txt"
    # the figure of the target; what it is without compilation; with clips of other lengths, an eighth of them shorter
    measure compiled 100 --device cuda --batch-size 64 --compile --warmup 8 --steps 20
    measure eager 40 --device cuda --batch-size 64 --warmup 3 --steps 10
    measure padded 60 --device cuda --batch-size 64 --compile --warmup 20 --steps 15 --short 0.125
fi
if [[ ${#reduced[@]} -eq 0 ]] && python -c "import pytest" 2>/dev/null; then
    # steps that synchronise, pinned batches, noise and resuming on the device: seconds
    timeout 60 python -m pytest -q -p no:cacheprovider tests/training/test_device.py -m gpu 2>&1 | tee "$out/tests.txt"
fi
