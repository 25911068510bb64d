"""``prismaudio estimate``: memory, operations, storage and hours of a recipe, without data, weights or a GPU."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
import warnings
from dataclasses import asdict, dataclass
from pkgutil import resolve_name
from typing import Any, Literal

import torch
from rich.console import Console

from prismaudio.benchmarks.rewards import network_of
from prismaudio.benchmarks.speed import MATMUL
from prismaudio.checkpoints import MetaTensors
from prismaudio.cli.arguments import Parser, number, whole
from prismaudio.cli.estimate_recipe import MANY, Recipe, build_reward, read
from prismaudio.errors import PrismAudioError, RecipeError, one_line
from prismaudio.profiling import peak_bytes
from prismaudio.testing.examples import example_clip, example_plan
from prismaudio.training.estimate import HALVES, RunSettings, StepCost, estimate_step, n_bytes, storage_bytes
from prismaudio.training.fast_grpo import FastGrpoTask
from prismaudio.training.memory import Counter
from prismaudio.training.speed import matmul_s
from prismaudio.training.transformer import TransformerTask

DURATION_S = 9.0
"""Length of the clips where neither the recipe nor an option states one: that of the published training."""
SHARE = 0.35
N_CLIPS = 10_000
CUDA_BYTES = 1 << 30
"""What the CUDA context, cuBLAS and NCCL take on a GPU besides tensors; not measured."""


@dataclass(frozen=True)
class Device:
    """A device, from the data sheet of its vendor.

    Args:
        name: Its name.
        half: Peak of dense bfloat16 or float16 products with float32 sums, in TFLOP/s.
        tf32: Peak of dense TF32 products.
        single: Peak of float32 products.
        memory_gb: Memory in 10⁹ bytes.
    """

    name: str
    half: float
    tf32: float
    single: float
    memory_gb: float


DEVICES = {
    "a10": Device("NVIDIA A10", 125, 62.5, 31.2, 24),
    "a100": Device("NVIDIA A100 80GB", 312, 156, 19.5, 80),
    "a100-40gb": Device("NVIDIA A100 40GB", 312, 156, 19.5, 40),
    "b200": Device("NVIDIA B200", 2250, 1125, 75, 180),
    "h100": Device("NVIDIA H100 SXM", 989, 494, 67, 80),
    "h200": Device("NVIDIA H200 SXM", 989, 494, 67, 141),
    "l4": Device("NVIDIA L4", 121, 60, 30.3, 24),
    "l40s": Device("NVIDIA L40S", 362, 183, 91.6, 48),
    "rtx3090": Device("NVIDIA GeForce RTX 3090", 71, 35.6, 35.6, 24),
    "rtx4090": Device("NVIDIA GeForce RTX 4090", 165, 82.6, 82.6, 24),
}
"""Figures of the vendors' data sheets, without sparsity."""


def main(argv: list[str]) -> int:
    """Run ``prismaudio estimate``."""
    parser = _parser()
    recipe = argv[:1] if argv and not argv[0].startswith("-") else []
    options, rest = parser.parse_known_args(argv[len(recipe) :])
    words = [*(("--config", recipe[0]) if recipe else ()), *rest]
    if not any(word.partition("=")[0] in ("--config", "-c") for word in words):
        parser.error("no recipe is given; expected the name of one, see prismaudio recipes list")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with Console(stderr=True).status("counting"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = estimate(read(words), options)
    if options.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        sys.stdout.write(listing(found))
    return 0


def _parser() -> Parser:
    parser = Parser(
        "prismaudio estimate",
        usage="prismaudio estimate RECIPE [options] [options of prismaudio fit]",
        description="Print memory, operations, storage and hours of a recipe. Nothing is trained, and neither data, "
        "weights nor a GPU are needed: the step of the task is run without values, and the tensors that are alive are "
        "counted. Recipes and options are those of prismaudio fit, such as --config foundation/fsdp or "
        "--trainer.devices 8.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--gpu", choices=[*DEVICES, "cpu"], help="the device (default: h100; cpu where the recipe's accelerator is cpu)"
    )
    parser.add_argument(
        "--peak-tflops", type=number(0.001, 1e6), metavar="N",
        help="peak of its matrix products in the precision of the recipe, in TFLOP/s (default: the data sheet's)",
    )  # fmt: skip
    parser.add_argument(
        "--memory", type=number(0.1, 1e5), metavar="GB", help="its memory in 10⁹ bytes (default: the data sheet's)"
    )
    parser.add_argument(
        "--share", type=number(0.001, 1), default=SHARE,
        help="share of the peak that training reaches (default: %(default)s, an assumption)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=number(0.1, 3600), metavar="S", help="length of the clips (default: that of the recipe)"
    )
    parser.add_argument(
        "--clips", type=whole(1, 10**12), metavar="N",
        help=f"training clips, for the storage of their features and for epochs (default: storage of {N_CLIPS:,})",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON, with all numbers in bytes, FLOP and seconds")
    return parser


def estimate(recipe: Recipe, options: argparse.Namespace) -> dict[str, Any]:
    """What a recipe takes, as plain data.

    Args:
        recipe: The recipe.
        options: The options of the command.

    Raises:
        RecipeError: The task of the recipe cannot be estimated.
    """
    notes = list(recipe.notes)
    task = recipe.task
    if not isinstance(task, TransformerTask):
        raise RecipeError(
            f"{type(task).__name__} cannot be estimated; expected FoundationTask or FastGrpoTask: what a planner takes "
            "depends on its own network"
        )
    kind: Literal["cuda", "cpu"] = "cuda"
    if options.gpu == "cpu" or (options.gpu is None and recipe.trainer.get("accelerator") == "cpu"):
        kind = "cpu"
    device = None if kind == "cpu" else DEVICES[options.gpu or "h100"]
    precision = _precision(recipe.trainer.get("precision"))
    devices = recipe.devices
    if devices is None:
        devices = 1
        if kind == "cuda":
            notes.append("trainer.devices is auto: one device is assumed; set --trainer.devices N")
    duration_s = options.seconds or recipe.duration_s
    if duration_s is None:
        duration_s = DURATION_S
        notes.append(f"the recipe states no length of clips: {DURATION_S:g} s are assumed; set --seconds S")
    n_clips = int(recipe.data.get("batch_size", 1))
    if n_clips < 1:
        raise RecipeError(f"data.batch_size is {n_clips}; expected 1 or more")
    settings = RunSettings(kind, devices, recipe.sharded, precision, n_clips, duration_s, recipe.averaged)
    own_bytes = peak_bytes()
    rewards = _rewards(recipe, task, settings, notes) if isinstance(task, FastGrpoTask) else {}
    compiled, clip_bytes = task.compile_blocks, storage_bytes(task, duration_s)
    cost = estimate_step(task, settings)
    for found in rewards.values():
        cost.held["networks of rewards"] = cost.held.get("networks of rewards", 0) + found["held"]
    scoring = {name: found["scoring"] for name, found in rewards.items() if found["scoring"]}
    if scoring:  # one after the other, while the next clip is decoded
        most = max(scoring, key=lambda name: scoring[name])
        cost.phases["decode"].bytes += scoring[most]
        notes.append(f"rewards score while the next clip is decoded: decode has {_bytes(scoring[most])} of {most}")
    cost.held["context and libraries"] = own_bytes if device is None else CUDA_BYTES
    if compiled:
        notes.append("compile: compiled blocks keep fewer activations; those of the blocks as written are counted")
    return _summary(recipe, options, settings, cost, device, clip_bytes, notes)


def _precision(given: object) -> str:
    text = str(given)
    return {"32": "32-true", "None": "default"}.get(text, text)


def _summary(
    recipe: Recipe,
    options: argparse.Namespace,
    settings: RunSettings,
    cost: StepCost,
    device: Device | None,
    clip_bytes: int,
    notes: list[str],
) -> dict[str, Any]:
    """All numbers of an estimate."""
    peak_flops, source = _peak(options, settings, device)
    memory_bytes = options.memory * 1e9 if options.memory else _memory(device)
    accumulated = int(recipe.trainer.get("accumulate_grad_batches") or 1)
    per_batch = getattr(recipe.task, "steps_per_batch", 1)
    flop = cost.flop * accumulated / per_batch  # of an optimizer step
    n_steps = _n_steps(recipe, options, settings, accumulated, per_batch)
    step_s = flop / (peak_flops * options.share)
    n_stored = options.clips or N_CLIPS
    return {
        "device": "this machine's CPU" if device is None else device.name,
        "devices": settings.devices,
        "strategy": "fsdp" if settings.sharded else "ddp" if settings.devices > 1 else "one device",
        "precision": "32-true" if settings.precision == "default" else settings.precision,
        "batch_size": settings.n_clips,
        "duration_s": settings.duration_s,
        "parameters": cost.parameters,
        "memory_bytes": {name: size for name, size in cost.held.items() if size}
        | {"activations and temporary tensors": cost.activations},
        "peak_bytes": cost.peak_bytes,
        "device_bytes": memory_bytes,
        "phases": {name: asdict(phase) for name, phase in cost.phases.items()},
        "flop_per_step": flop,
        "steps": n_steps,
        "total_flop": None if n_steps is None else flop * n_steps * settings.devices,
        "peak_flops": peak_flops,
        "peak_source": source,
        "share": options.share,
        "step_s": step_s,
        "hours": None if n_steps is None else step_s * n_steps / 3600,
        "checkpoint_bytes": cost.checkpoint_bytes,
        "clips": n_stored,
        "clip_bytes": clip_bytes,
        "storage_bytes": n_stored * clip_bytes,
        "notes": [
            *notes,
            f"{options.share:.0%} of the peak is an assumption, without waiting for data or launches: set --share",
            "validation, and what the allocator loses to fragmentation, are not counted",
        ],
    }


def _peak(options: argparse.Namespace, settings: RunSettings, device: Device | None) -> tuple[float, str]:
    """FLOP per second of the device in the precision of the run, and where the number is from."""
    if options.peak_tflops:
        return options.peak_tflops * 1e12, "--peak-tflops"
    half = settings.precision in HALVES
    if device is None:
        dtype = HALVES.get(settings.precision, torch.float32)
        return 2 * MATMUL**3 / matmul_s(MATMUL, dtype, torch.device("cpu")), "measured here, one matrix product"
    if half:
        return device.half * 1e12, "data sheet of the vendor, dense half precision"
    if settings.precision == "default":
        return device.tf32 * 1e12, "data sheet of the vendor, dense TF32"
    return device.single * 1e12, "data sheet of the vendor, float32"


def _memory(device: Device | None) -> float:
    """Memory of the device in bytes."""
    if device is not None:
        return device.memory_gb * 1e9
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _n_steps(
    recipe: Recipe, options: argparse.Namespace, settings: RunSettings, accumulated: int, per_batch: int
) -> int | None:
    """Optimizer steps of the run; None where nothing limits them."""
    most, epochs = int(recipe.trainer.get("max_steps") or -1), recipe.trainer.get("max_epochs")
    limits = [most] if most > 0 else []
    if options.clips and epochs and int(epochs) > 0:
        batches = math.ceil(options.clips / (settings.n_clips * settings.devices))
        limits.append(int(epochs) * math.ceil(batches / accumulated) * per_batch)
    return min(limits, default=None)


def _rewards(recipe: Recipe, task: FastGrpoTask, settings: RunSettings, notes: list[str]) -> dict[str, dict[str, int]]:
    """Bytes of the networks of each reward, and, of a reward without one, bytes that scoring takes."""
    found: dict[str, dict[str, int]] = {}
    counted: list[str] = []
    for name, described in recipe.rewards.items():
        kind = resolve_name(described.class_path)
        network = network_of(kind)
        if network is not None:
            with MetaTensors(MANY):
                held = sum(map(n_bytes, network().parameters()))
            found[name] = {"held": held, "scoring": 0}
            counted.append(kind.__name__)
            continue
        try:
            reward = build_reward(described)
            held = sum(n_bytes(weight) for part in reward.networks for weight in part.parameters())
            scoring = 0 if "held out" in name else _scoring_bytes(reward, task, settings.duration_s)
        except (PrismAudioError, ValueError, TypeError) as error:
            notes.append(f"reward {name} is not counted: {one_line(error)}")
            continue
        found[name] = {"held": held, "scoring": scoring}
    if counted:
        notes.append(f"of rewards with a network, its weights are counted, not its work: {', '.join(counted)}")
    return found


def _scoring_bytes(reward: Any, task: FastGrpoTask, duration_s: float) -> int:
    """Peak memory of scoring the candidates of a clip, counted while it is done on this CPU."""
    codec = task.autoencoder
    rate_hz = 44_100 if codec is None else codec.sample_rate_hz
    clip, plan = example_clip(duration_s, sample_rate_hz=rate_hz), example_plan()
    cache = reward.prepare(clip, plan)
    source = torch.Generator().manual_seed(0)
    audio = 0.1 * torch.randn(task.group_size, 2, round(duration_s * rate_hz), generator=source)
    with torch.no_grad(), Counter([audio], "cpu") as counter:
        reward.score(audio, rate_hz, [cache] * len(audio))
    return counter.peak


def listing(found: dict[str, Any]) -> str:
    """An estimate as text."""
    of, several = found["parameters"], found["devices"] > 1
    clips = "clip" if found["batch_size"] == 1 else "clips"
    run = f"{found['devices']} × {found['device']}, {found['strategy']}, {found['precision']}"
    lines = [
        f"{run}, a batch of {found['batch_size']} {clips} of {found['duration_s']:g} s on each",
        "parameters: " + ", ".join(f"{_scaled(count, '', 1000)}{name}" for name, count in of.items() if count),
        "",
        f"memory of {'each' if several else 'the'} device",
    ]
    lines += [f"  {name:<34} {_bytes(size):>12}" for name, size in found["memory_bytes"].items()]
    share = found["peak_bytes"] / found["device_bytes"]
    fits = "" if share <= 1 else ": it does not fit"
    lines += [
        f"  {'peak':<34} {_bytes(found['peak_bytes']):>12}, {share:.0%} of {_bytes(found['device_bytes'])}{fits}",
        "",
        f"{'a step, on each device':<36} {'operations':>12} {'memory besides what stays':>27}",
    ]
    for name, phase in found["phases"].items():
        lines.append(f"  {name:<34} {_flop(phase['flop']):>12} {_bytes(phase['bytes']):>27}")
    lines += [
        f"  {'optimizer step':<34} {_flop(found['flop_per_step']):>12}",
        "",
        f"peak: {found['peak_flops'] / 1e12:.4g} TFLOP/s ({found['peak_source']}), {found['share']:.0%} of it assumed",
        f"an optimizer step takes {found['step_s']:.3g} s",
    ]
    if found["steps"] is None:
        lines.append("nothing limits the steps: set --trainer.max_steps, or --clips N with --trainer.max_epochs")
    else:
        lines.append(
            f"{found['steps']:,} steps take {found['hours']:.3g} hours, {found['hours'] * found['devices']:.3g} device "
            f"hours, and {_flop(found['total_flop'])}"
        )
    hours = found["clips"] * found["duration_s"] / 3600
    stored = f"{_bytes(found['storage_bytes'])}: {_bytes(found['clip_bytes'])} a clip"
    lines += [
        f"a checkpoint takes {_bytes(found['checkpoint_bytes'])}",
        f"features of {found['clips']:,} clips, {hours:.3g} hours, take {stored}",
        "",
        "assumed, or not counted:",
        *(f"- {note}" for note in found["notes"]),
    ]
    return "\n".join(lines) + "\n"


def _scaled(number: float, unit: str, base: int) -> str:
    prefixes = ("", "K", "M", "G", "T", "P", "E", "Z")
    power = min(len(prefixes) - 1, int(math.log(number, base))) if number >= 1 else 0
    prefix = prefixes[power] + ("i" if base == 1024 and power else "")
    return f"{number / base**power:.{2 if power else 0}f} {prefix}{unit}{'' if unit or not prefix else ' '}"


def _bytes(number: float) -> str:
    return _scaled(number, "B", 1024)


def _flop(number: float) -> str:
    return _scaled(number, "FLOP", 1000)
