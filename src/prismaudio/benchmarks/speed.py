"""The model benchmark: rendering speed of a network, relative to the peak of the machine."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prismaudio import __version__
from prismaudio.benchmarks.report import Report
from prismaudio.devices import PRECISIONS
from prismaudio.samplers.euler import EulerSampler
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.types import Conditions, Features

if TYPE_CHECKING:
    from torch import Tensor

    from prismaudio.autoencoders.base import Autoencoder
    from prismaudio.models.dit import DiffusionTransformer

COLUMNS = ("seconds", "gflop_per_s", "share_of_peak", "speed_over_eager")
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
    """Times the peak of the machine, one guided velocity, and a whole clip.

    Each round times every row once, so that other load affects all rows; the figures are means over the rounds.

    Args:
        duration_s: Duration of the clip in seconds.
        steps: Steps of the Euler sampler.
        scale: Guidance scale; each velocity has a conditional and an unconditional half.
        precisions: ``"fp32"``, ``"bf16"`` or both.
        rounds: Timed repetitions, after one warm-up round.
        device: Device to run on.
        compiled: Whether to add rows with ``torch.compile``, on a GPU with CUDA graphs.
        clip: Whether to time the whole clip: all steps, and decoding.
    """

    duration_s: float = 9.0
    steps: int = 24
    scale: float = 5.0
    precisions: tuple[str, ...] = ("fp32", "bf16")
    rounds: int = 3
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    compiled: bool = False
    clip: bool = True
    _gflop: dict[str, float] = field(default_factory=dict)

    @torch.inference_mode()
    def run(
        self, transformer: DiffusionTransformer, autoencoder: Autoencoder, on_step: Step = lambda _: None
    ) -> Report:
        """Time a transformer and an autoencoder; they are moved to the device, and weights may be rounded.

        Args:
            transformer: The velocity network.
            autoencoder: Its autoencoder; it always runs in float32.
            on_step: Called with the name of the row before it is timed.

        Returns:
            Rows such as ``fp32 velocity``. ``share_of_peak`` is relative to the matrix product of that
            precision, ``speed_over_eager`` to the velocity that recomputes the constants of a trajectory at each step.
        """
        report = Report(COLUMNS)
        transformer.to(self.device).eval()
        autoencoder.to(self.device).eval()
        for precision in sorted(self.precisions, key=list(PRECISIONS).index):  # rounding comes last
            rows = self._rows(transformer.in_precision(PRECISIONS[precision]), autoencoder, precision)
            for turn in range(self.rounds + 1):
                taken_s = {}
                for name, row in rows.items():
                    if not turn and self.device.type == "cpu" and name in ("decode", f"{self.steps} steps"):
                        continue  # long enough not to need a warm-up
                    on_step(f"{precision} {name}")
                    taken_s[name] = self._time(row)
                if turn:
                    self._note(report, precision, taken_s)
        report.meta = self._settings(transformer, autoencoder)
        return report

    def _rows(
        self, transformer: DiffusionTransformer, autoencoder: Autoencoder, precision: str
    ) -> dict[str, Callable[[], object]]:
        """The functions to time, by name; also counts their operations."""
        dtype = PRECISIONS[precision]
        n_frames = autoencoder.n_frames(self.duration_s)
        conditions = self._conditions(transformer, dtype)
        both = Conditions.cat(conditions, conditions.null())
        noise = torch.randn(1, autoencoder.channels, n_frames, device=self.device)
        half = torch.full((1,), 0.5)
        side = 4 * MATMUL if self.device.type == "cuda" else MATMUL  # smaller products do not saturate a GPU
        square = torch.randn(side, side, device=self.device, dtype=dtype)
        product = torch.empty_like(square)

        def eager() -> Tensor:
            return transformer(torch.cat([noise, noise]), torch.cat([half, half]).to(noise.device), both)

        velocity = guided_velocity(transformer, conditions, n_frames, self.scale)
        rows: dict[str, Callable[[], object]] = {
            "matmul": lambda: [torch.mm(square, square, out=product) for _ in range(PRODUCTS)],
            "eager velocity": eager,
            "velocity": lambda: velocity(noise, half),
        }
        self._gflop = {"matmul": PRODUCTS * 2 * side**3 / 1e9}
        self._gflop |= {name: _gflop(rows[name]) for name in ("eager velocity", "velocity")}
        sampled = velocity
        if self.compiled:
            quick = torch.compile(transformer, mode="default" if self.device.type == "cpu" else "max-autotune")
            sampled = guided_velocity(cast("DiffusionTransformer", quick), conditions, n_frames, self.scale)
            rows["compiled velocity"] = lambda: sampled(noise, half)
            self._gflop["compiled velocity"] = self._gflop["velocity"]
        if self.clip:
            sampler = EulerSampler(self.steps)
            rows[f"{self.steps} steps"] = lambda: sampler.sample(sampled, noise)
            self._gflop[f"{self.steps} steps"] = self.steps * self._gflop["velocity"]
            rows["decode"] = lambda: autoencoder.decode(noise)
        return rows

    def _conditions(self, transformer: DiffusionTransformer, dtype: torch.dtype) -> Conditions:
        """Random features of every stream of the transformer, as long as those of a clip."""
        streams = {}
        for name, conditioner in transformer.streams.items():
            length = round(RATES_HZ[name] * self.duration_s) if name in RATES_HZ else N_TOKENS
            streams[name] = Features.pad([torch.randn(length, conditioner.dim)])
        return Conditions(streams).to(self.device, dtype)

    def _time(self, row: Callable[[], object]) -> float:
        self._wait()
        start_s = time.perf_counter()
        row()
        self._wait()
        return time.perf_counter() - start_s

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _note(self, report: Report, precision: str, taken_s: dict[str, float]) -> None:
        """Add one round to the report."""
        rate = {name: self._gflop[name] / taken_s[name] for name in taken_s if name in self._gflop}
        for name, seconds in taken_s.items():
            report.add(f"{precision} {name}", "seconds", seconds)
            if name in rate:
                report.add(f"{precision} {name}", "gflop_per_s", rate[name])
                report.add(f"{precision} {name}", "share_of_peak", rate[name] / rate["matmul"])
            if name.endswith("velocity"):
                report.add(f"{precision} {name}", "speed_over_eager", taken_s["eager velocity"] / seconds)

    def _settings(self, transformer: DiffusionTransformer, autoencoder: Autoencoder) -> dict[str, Any]:
        cuda = self.device.type == "cuda"
        peak = torch.cuda.max_memory_allocated() if cuda else _peak_memory()
        return {
            "parameters": sum(p.numel() for p in transformer.parameters()),
            "autoencoder": type(autoencoder).__name__,
            "duration_s": self.duration_s,
            "gflop_per_guided_velocity": round(self._gflop["velocity"], 1),
            "peak_memory_gib": round(peak / 2**30, 2),
            "device": torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} threads",
            "versions": {"prismaudio": __version__, "torch": torch.__version__},
        }


def _gflop(row: Callable[[], object]) -> float:
    """Floating-point operations of matrix products, convolutions and attention, in 1e9."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        row()
    return counter.get_total_flops() / 1e9


def _peak_memory() -> int:
    """Peak resident memory of this process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
