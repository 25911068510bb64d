"""The model benchmark: rendering speed of a network, relative to the peak of the machine."""

from __future__ import annotations

import copy
import functools
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prismaudio import __version__
from prismaudio.autoencoders.half import HalfPrecisionDecoder
from prismaudio.benchmarks.report import Report
from prismaudio.devices import PRECISIONS, synchronize
from prismaudio.models.graphs import FIRST_STEPS, GraphedTransformer
from prismaudio.samplers.adams_bashforth import AdamsBashforthSampler
from prismaudio.samplers.euler import EulerSampler
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.types import Conditions, Features

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from prismaudio.autoencoders.base import Autoencoder
    from prismaudio.models.dit import DiffusionTransformer
    from prismaudio.samplers.base import GridSampler

COLUMNS = ("ms_per_clip", "gflop_per_s", "share_of_peak", "speed_over_eager", "relative_rms", "peak_db", "seconds")
RATES_HZ = {"video": 4.0, "sync": 24.0, "plan": 62.5}
"""Features per second of the published encoders, and of our plan grid."""
N_TOKENS = 160
"""Number of tokens of a text, and of features of an unknown stream."""
MATMUL = 2048
"""Size of the square matrices whose product defines the peak of the machine; four times as large on a GPU."""
PRODUCTS = 16
"""Products per timing: about a second on a CPU core, as long as a velocity."""
Step = Callable[[str], None]


@dataclass
class ModelSpeed:
    """Times the peak of the machine, one guided velocity, decoding, and a whole clip.

    Each round times every row once, so that other load affects all rows; the figures are means over the rounds. On a
    GPU there are rows for CUDA graphs and for decoding in half precision.

    Args:
        duration_s: Duration of the clip in seconds.
        steps: Steps of the Euler sampler.
        scale: Guidance scale; each velocity has a conditional and an unconditional half.
        precisions: ``"fp32"``, ``"bf16"`` or both.
        batches: Numbers of clips that are generated together.
        rounds: Timed repetitions, after one warm-up round.
        device: Device to run on.
        compiled: Whether to add rows with ``torch.compile``.
        clip: Whether to time the whole clip: all steps, and decoding.
    """

    duration_s: float = 9.0
    steps: int = 24
    scale: float = 5.0
    precisions: tuple[str, ...] = ("fp32", "bf16")
    batches: tuple[int, ...] = (1,)
    rounds: int = 3
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    compiled: bool = False
    clip: bool = True
    _gflop: dict[str, float] = field(default_factory=dict)
    _first_s: dict[str, float] = field(default_factory=dict)

    @torch.inference_mode()
    def run(
        self, transformer: DiffusionTransformer, autoencoder: Autoencoder, on_step: Step = lambda _: None
    ) -> Report:
        """Time a transformer and an autoencoder; they are moved to the device, and weights may be rounded.

        Args:
            transformer: The velocity network. Weights that are zero are replaced by random ones, because errors of
                the rows could not be seen in them.
            autoencoder: Its autoencoder.
            on_step: Called with the name of the row before it is timed.

        Returns:
            Rows such as ``fp32 velocity``, and ``bf16 velocity x4`` for four clips. ``share_of_peak`` is relative to
            the matrix product of that precision, ``speed_over_eager`` to the velocity that recomputes the constants of
            a trajectory at each step, ``relative_rms`` and ``peak_db`` are differences from float32.
        """
        report = Report(COLUMNS)
        with torch.random.fork_rng(devices=[]):
            for weight in transformer.parameters():
                if not weight.any():
                    weight.normal_(std=0.02)
        transformer.to(self.device).eval()
        autoencoder.to(self.device).eval()
        inputs = {count: self._inputs(transformer, autoencoder, count) for count in self.batches}
        exact = {count: self._outputs(transformer, autoencoder, *inputs[count]) for count in self.batches}
        for precision in sorted(self.precisions, key=list(PRECISIONS).index):  # rounding comes last
            network = transformer.in_precision(PRECISIONS[precision])
            compiled = GraphedTransformer(copy.deepcopy(network)) if self.compiled else None
            if compiled is not None:
                compiled.compile()
            for count in self.batches:
                rows = self._rows(network, compiled, autoencoder, precision, *inputs[count])
                self._warm_up(rows, f"{precision} x{count}", on_step)
                for _ in range(self.rounds):
                    taken_s, made = {}, {}
                    for name, row in rows.items():
                        on_step(f"{precision} {name}")
                        taken_s[name], made[name] = self._time(row)
                    self._note(report, precision, count, taken_s, made, exact[count])
        report.meta = self._settings(transformer, autoencoder)
        return report

    def _warm_up(self, rows: Mapping[str, Callable[[], object]], label: str, on_step: Step) -> None:
        """Call each row, but for those that take long enough on a CPU; compiled ones note how long this takes."""
        cuda = self.device.type == "cuda"
        for name, row in rows.items():
            on_step(f"{label} {name}, warm-up")
            if cuda or not (name.endswith("steps") or name == "decode"):
                seconds, _ = self._time(row)
                if name.startswith("compiled"):
                    self._first_s[f"{label} {name}"] = seconds
            if cuda and name.endswith("graph velocity"):
                for _ in range(FIRST_STEPS):
                    row()  # the last call captures

    def _inputs(
        self, transformer: DiffusionTransformer, autoencoder: Autoencoder, count: int
    ) -> tuple[Conditions, Tensor]:
        """Random conditions and noise of some clips."""
        noise = torch.randn(count, autoencoder.channels, autoencoder.n_frames(self.duration_s), device=self.device)
        dims = {name: conditioner.dim for name, conditioner in transformer.streams.items()}
        return random_conditions(dims, self.duration_s, count).to(self.device), noise

    def _outputs(
        self, transformer: DiffusionTransformer, autoencoder: Autoencoder, conditions: Conditions, noise: Tensor
    ) -> dict[str, Tensor]:
        """What the rows should compute, in float32: a velocity, and audio."""
        velocity = guided_velocity(transformer, conditions, noise.shape[-1], self.scale)
        exact = {"velocity": velocity(noise, torch.full((len(noise),), 0.5))}
        return exact | ({"decode": self._decoded(autoencoder, noise)} if self.clip else {})

    def _rows(
        self,
        transformer: DiffusionTransformer,
        compiled: GraphedTransformer | None,
        autoencoder: Autoencoder,
        precision: str,
        conditions: Conditions,
        noise: Tensor,
    ) -> dict[str, Callable[[], object]]:
        """The functions to time, by name; also counts their operations."""
        dtype, cuda, count, n_frames = PRECISIONS[precision], self.device.type == "cuda", len(noise), noise.shape[-1]
        conditions = conditions.to(dtype=dtype)
        both = Conditions.cat(conditions, conditions.null())
        half = torch.full((count,), 0.5)
        side = 4 * MATMUL if cuda else MATMUL  # smaller products do not saturate a GPU
        square = torch.randn(side, side, device=self.device, dtype=dtype)
        product = torch.empty_like(square)

        def products() -> None:
            for _ in range(PRODUCTS):
                torch.mm(square, square, out=product)

        def eager() -> Tensor:
            times = torch.cat([half, half]).to(noise.device)
            wanted, other = transformer(torch.cat([noise, noise]), times, both).chunk(2)
            return other + self.scale * (wanted - other)

        networks: dict[str, DiffusionTransformer | GraphedTransformer] = {"velocity": transformer}
        if cuda:
            networks["graph velocity"] = GraphedTransformer(transformer)
        if compiled is not None:
            networks["compiled velocity"] = compiled.transformer
            networks |= {"compiled graph velocity": compiled} if cuda else {}
        velocities = {
            name: guided_velocity(network, conditions, n_frames, self.scale) for name, network in networks.items()
        }
        rows: dict[str, Callable[[], object]] = {"matmul": products, "eager velocity": eager}
        rows |= {name: functools.partial(velocity, noise, half) for name, velocity in velocities.items()}
        self._gflop = {"matmul": PRODUCTS * 2 * side**3 / 1e9}
        self._gflop |= {name: count_flop(rows[name]) / 1e9 for name in ("eager velocity", "velocity")}
        self._gflop |= dict.fromkeys(velocities, self._gflop["velocity"])
        if self.clip:
            last = list(networks)[-1]  # the fastest; a trajectory prepares its conditions itself
            for sampler in (EulerSampler(self.steps), AdamsBashforthSampler()):
                name = f"{sampler.steps} {'' if isinstance(sampler, EulerSampler) else 'Adams-Bashforth '}steps"
                rows[name] = functools.partial(self._trajectory, networks[last], conditions, sampler, noise)
                self._gflop[name] = sampler.steps * self._gflop["velocity"]
            rows["decode"] = lambda: self._decoded(autoencoder, noise)
            if cuda and autoencoder.half_precision and precision == "bf16":
                rows["decode in half"] = functools.partial(self._decoded, HalfPrecisionDecoder(autoencoder), noise)
                if compiled is not None:
                    decoder = HalfPrecisionDecoder(autoencoder)
                    decoder.compile_decoder()
                    rows["compiled decode in half"] = functools.partial(self._decoded, decoder, noise)
                best, name = list(rows)[-1], f"clip of {self.steps} steps"
                rows[name] = lambda: (rows[f"{self.steps} steps"](), rows[best]())
        return rows

    def _trajectory(
        self,
        network: DiffusionTransformer | GraphedTransformer,
        conditions: Conditions,
        sampler: GridSampler,
        noise: Tensor,
    ) -> Tensor:
        """Latents of a whole trajectory, with the preparation of its conditions."""
        return sampler.sample(guided_velocity(network, conditions, noise.shape[-1], self.scale), noise)

    @staticmethod
    def _decoded(autoencoder: Autoencoder, latents: Tensor) -> Tensor:
        """Audio of latents, one clip after the other, as in generation."""
        return torch.cat([autoencoder.decode(row[None]) for row in latents])

    def _time(self, row: Callable[[], object]) -> tuple[float, object]:
        """Seconds of a row, and what it computed."""
        synchronize(self.device)
        start_s = time.perf_counter()
        made = row()
        synchronize(self.device)
        return time.perf_counter() - start_s, made

    def _note(
        self,
        report: Report,
        precision: str,
        count: int,
        taken_s: dict[str, float],
        made: dict[str, object],
        exact: dict[str, Tensor],
    ) -> None:
        """Add one round to the report."""
        rate = {name: self._gflop[name] / taken_s[name] for name in taken_s if name in self._gflop}
        for name, seconds in taken_s.items():
            row = f"{precision} {name}{f' x{count}' if count > 1 else ''}"
            report.add(row, "seconds", seconds)
            if name != "matmul":
                report.add(row, "ms_per_clip", 1000 * seconds / count)
            if name in rate:
                report.add(row, "gflop_per_s", rate[name])
                report.add(row, "share_of_peak", rate[name] / rate["matmul"])
            if name.endswith("velocity"):
                report.add(row, "speed_over_eager", taken_s["eager velocity"] / seconds)
            of = "velocity" if name.endswith("velocity") else "decode" if "decode" in name else ""
            output = made[name]
            if of in exact and isinstance(output, torch.Tensor):
                report.add(row, "relative_rms", float((output - exact[of]).norm() / exact[of].norm()))
                if of == "decode":
                    report.add(row, "peak_db", float(20 * (output.abs().max() / exact[of].abs().max()).log10()))

    def _settings(self, transformer: DiffusionTransformer, autoencoder: Autoencoder) -> dict[str, Any]:
        cuda = self.device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(self.device) if cuda else _peak_memory()
        return {
            "parameters": sum(p.numel() for p in transformer.parameters()),
            "autoencoder": type(autoencoder).__name__,
            "duration_s": self.duration_s,
            "gflop_per_guided_velocity": round(self._gflop["velocity"], 1),
            "peak_memory_gib": round(peak / 2**30, 2),
            **({"first_call_s": {name: round(s, 1) for name, s in self._first_s.items()}} if self._first_s else {}),
            "device": torch.cuda.get_device_name(self.device) if cuda else f"{torch.get_num_threads()} threads",
            "versions": {"prismaudio": __version__, "torch": torch.__version__},
        }


def random_conditions(dims: Mapping[str, int], duration_s: float, count: int) -> Conditions:
    """Random features of some clips, as long as those of the published encoders.

    Args:
        dims: Dim of the features, by stream.
        duration_s: Duration of each clip in seconds.
        count: Number of clips.
    """
    streams = {}
    for name, dim in dims.items():
        length = round(RATES_HZ[name] * duration_s) if name in RATES_HZ else N_TOKENS
        streams[name] = Features.pad([torch.randn(length, dim) for _ in range(count)])
    return Conditions(streams)


def count_flop(work: Callable[[], object]) -> int:
    """Floating-point operations of some work: its matrix products, convolutions and attention."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        work()
    return counter.get_total_flops()


def _peak_memory() -> int:
    """Peak resident memory of this process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
