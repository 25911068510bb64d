#!/usr/bin/env bash
# Measures prismaudio generate as a whole command: 96 clips of 9 s with the installed small model on a GPU, in at most
# 2 minutes. Needs prismaudio, plugins/prismaudio-footage and plugins/prismaudio-studio in the Python of $PYTHON (default: python).
#
#   benchmarks/gpu/generate.sh FOLDER             writes FOLDER/generate.txt as it goes
#   benchmarks/gpu/generate.sh FOLDER --reduced   4 clips of 2 s on the CPU: shows that the script works
set -euo pipefail

out=${1:?usage: benchmarks/gpu/generate.sh FOLDER [--reduced]}
python=${PYTHON:-python} device=cuda clips=96 seconds=9 words=()
if [ "${2:-}" = --reduced ]; then
    device=cpu clips=4 seconds=2 words=(--steps 2)
fi
sample=$(dirname "$0")/../../samples/bell_and_ball.mp4
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
exec > >(tee "$out/generate.txt") 2>&1

now() { date +%s.%N; }
since() { awk -v from="$1" -v to="$(now)" 'BEGIN { printf "%.2f", to - from }'; }

"$python" - <<'PYTHON'
import os, platform, torch
cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
print(f"{card}, {cpus} CPUs, {torch.get_num_threads()} threads of torch {torch.__version__}, Python {platform.python_version()}")
PYTHON
[ -r /sys/fs/cgroup/cpu.max ] && echo "cgroup cpu.max: $(cat /sys/fs/cgroup/cpu.max)"
start=$(now)
"$python" -c "import torch"
torch_s=$(since "$start")
echo "import torch, from a warm page cache: $torch_s s"

"$python" - "$sample" "$work/clips" "$clips" "$seconds" <<'PYTHON'
import shutil, sys
from pathlib import Path
import torch
from prismaudio.media import read_clip, write_video
from prismaudio.types import FrameSpec
sample, folder, clips, seconds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
frames = read_clip(sample, FrameSpec(25, 320)).frames
for number in range(clips):
    video = folder / f"{number:02}.mp4"
    if number < 8:  # the rest are copies of these
        write_video(frames[(torch.arange(25 * seconds) + 12 * number) % len(frames)], 25, video)
    else:
        shutil.copyfile(folder / f"{number % 8:02}.mp4", video)
PYTHON

generate() {  # NAME VIDEO...: wall-clock time, start-up and profile
    local name=$1 start wall
    shift
    start=$(now)
    timeout 100 "$python" -m prismaudio generate "$@" -o "$work/$name" --device "$device" --profile \
        ${words[@]+"${words[@]}"} >"$work/$name.log" 2>&1 || { tail -n 20 "$work/$name.log"; return 1; }
    wall=$(since "$start")
    echo
    sed -n '/^phase /,$p' "$work/$name.log"
    # the phases but loading are work on clips; what is left are imports, options and loading
    awk -v name="$name" -v wall="$wall" -v torch="$torch_s" '
        $1 == "loading" { loading = $2 } $1 == "all" { all = $2 }
        END {
            startup = wall - all + loading
            printf "%s: %.2f s; start-up %.2f s, %.2f s beyond import torch\n", name, wall, startup, startup - torch
        }' "$work/$name.log"
}

generate "one clip" "$work/clips/00.mp4"
generate "$clips clips of $seconds s" "$work/clips"
