"""The cot benchmark: models that were trained on plans of different forms, on the same held-out clips."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

from prismaudio.benchmarks import Benchmark
from prismaudio.cli import arguments
from prismaudio.cot.strategies import STRATEGIES
from prismaudio.errors import CheckpointError
from prismaudio.evaluation.intervals import draw_clips, percentile_interval
from prismaudio.inference import PrismAudio
from prismaudio.paths import expanded
from prismaudio_studio.benchmark.edits import EDITS
from prismaudio_studio.benchmark.rows import GivenPlanRow, Row, ShuffledRow, TruthRow
from prismaudio_studio.benchmark.stage import Camera
from prismaudio_studio.benchmark.studio import COLUMNS, StudioBenchmark, summary

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from prismaudio.benchmarks.report import Report
    from prismaudio.metrics.base import AudioMetric
    from prismaudio.metrics.target import Target

RECIPE = "studio/cot"
Interval = tuple[float, float]


class CotBenchmark(Benchmark):
    """Measures whether the structure of plans matters: models trained on plans of different forms."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``prismaudio bench cot``."""
        parser.add_argument(
            "--models",
            type=Path,
            default=Path("runs/studio/cot"),
            metavar="DIR",
            help="folder with a model folder for each form of the plans, which has its name",
        )
        parser.add_argument(
            "--strategies",
            type=arguments.names("strategy", STRATEGIES),
            default=STRATEGIES,
            help="forms of the plans, separated by commas; the others are compared with the last one",
        )
        parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of the held-out clips")
        parser.add_argument("--limit", type=arguments.positive, default=200, help="number of clips")
        parser.add_argument("--split", choices=("plain", "randomised"), default="plain", help="visual variation")
        parser.add_argument("--seeds", type=arguments.positive, default=1, help="number of sampling seeds")
        parser.add_argument(
            "--edit-limit", type=arguments.whole(0, 2**31 - 1), default=60, help="number of clips whose plan is edited"
        )
        parser.add_argument(
            "--guidance",
            type=arguments.number(0, 100),
            help="scale of classifier-free guidance; the models' default if not given",
        )
        parser.add_argument("--batch-size", type=arguments.positive, default=16, help="clips generated per batch")

    @classmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Evaluate the models, each with plans of the form that it was trained on.

        Raises:
            CheckpointError: A model is missing, or the models differ in more than the plans of their training.
        """
        start_s = time.monotonic()
        models = load_models(expanded(options.models), options.strategies)
        reference = options.strategies[-1]
        names = ("seed", "limit", "split", "seeds", "edit_limit", "guidance", "batch_size")
        benchmark = StudioBenchmark(**{name: getattr(options, name) for name in names})
        rows: dict[str, Row] = {"truth": TruthRow()}
        rows |= {name: GivenPlanRow(model, options.guidance, name) for name, model in models.items()}
        rows["shuffled"] = ShuffledRow()
        camera = Camera(options.split == "randomised", models[reference].settings.frame_spec)
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("forms of plans")
            metrics = benchmark.measured(
                rows, camera, lambda done, total: progress.update(task, completed=done, total=total), ClipStates
            )
        report = summary(metrics)
        intervals, differences = resampled(metrics, reference, options.seed)
        report.meta = {
            **benchmark.settings(),
            "models": {name: model.name for name, model in models.items()},
            "intervals": intervals,
            "reference": reference,
            "differences": differences,
            "seconds": round(time.monotonic() - start_s, 1),
        }
        return report

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:
        """Print a table with one line per metric and one column per form."""
        clips = f"{options.limit} held-out {options.split} clips"
        table = Table(
            title=f"training on plans of a form, {clips}: mean [95% interval over clips]",
            caption=f"* the interval of the difference from {report.meta['reference']} on the same clips excludes 0",
        )
        table.add_column("measure", no_wrap=True)
        for name in report.values:
            table.add_column(name, justify="right")
        for column in COLUMNS:
            table.add_row(column.replace("_", " "), *(_shown(report, name, column) for name in report.values))
        console.print(table)


def _shown(report: Report, row: str, column: str) -> str:
    cell, interval = report.cell(row, column), report.meta["intervals"][row].get(column)
    if cell is None or interval is None:
        return "-"
    if row not in report.meta["models"]:
        return f"{cell['mean']:.3f}"
    _, low, high = report.meta["differences"].get(row, {}).get(column, (0, 0, 0))
    return f"{cell['mean']:.3f} [{interval[0]:.2f}, {interval[1]:.2f}]" + ("*" if low > 0 or high < 0 else " ")


def load_models(folder: Path, strategies: Sequence[str] = STRATEGIES) -> dict[str, PrismAudio]:
    """Load the model of each form.

    Args:
        folder: Folder with a model folder for each form, which has its name.
        strategies: The forms.

    Raises:
        CheckpointError: One is missing, two have the same weights, or their networks or encoders differ.
    """
    for name in strategies:
        if not (folder / name).is_dir():
            raise CheckpointError(
                f"no model trained on plans of the form {name} at {folder / name}; train it: {command(folder, name)}"
            )
    models = {name: PrismAudio.from_pretrained(folder / name) for name in strategies}
    reference = strategies[-1]
    known: dict[str, str] = {}
    for name, model in models.items():
        if _architecture(model) != _architecture(models[reference]):
            raise CheckpointError(
                f"the models {name} and {reference} in {folder} differ in network or encoders, so that they do not "
                f"compare plans; train both by one recipe, such as {RECIPE}"
            )
        if (twin := known.setdefault(model.name.rpartition("@")[2], name)) != name:
            raise CheckpointError(
                f"the models {twin} and {name} in {folder} have the same weights; expected one training per form: "
                f"{command(folder, name)}"
            )
    return models


def command(folder: Path, name: str) -> str:
    """The command that trains the model of a form."""
    target, training = shlex.quote(str(folder / name)), shlex.quote(str(folder / f"training-{name}"))
    return (
        f"prismaudio fit --config {RECIPE} --data.strategy {name} "
        f"--trainer.default_root_dir {training} --trainer.callbacks.folder {target}"
    )


def _architecture(model: PrismAudio) -> Any:
    shapes = {name: tuple(weight.shape) for name, weight in model.transformer.state_dict().items()}
    encoders = {name: (type(encoder), dict(getattr(encoder, "config", {}))) for name, encoder in model.encoders.items()}
    return shapes, encoders


class ClipStates:
    """A metric that also keeps what each clip adds to its states, so that clips can be resampled.

    Args:
        metric: A metric whose states are sums.

    Attributes:
        states: The states of each clip, flattened to ``(n_values,)``.
    """

    def __init__(self, metric: AudioMetric) -> None:
        self.metric = metric
        self.metric.compute_with_cache = False  # or it would return the value of all clips for any states
        self.states: list[Tensor] = []

    @property
    def update_called(self) -> bool:
        """Whether any clip was added."""
        return self.metric.update_called

    def update(self, audio: Tensor, sample_rate_hz: int, targets: Sequence[Target]) -> None:
        """Add clips, see :meth:`prismaudio.metrics.base.AudioMetric.update`."""
        for row, target in zip(audio, targets, strict=True):
            before = self._flat()
            self.metric.update(row[None], sample_rate_hz, [target])
            self.states.append(self._flat() - before)

    def compute(self) -> Tensor:
        """The value of all clips."""
        return self.metric.compute()

    def value(self, states: Tensor) -> float:
        """The value of states ``(n_values,)``, which replace those of the metric."""
        shapes = {name: getattr(self.metric, name).shape for name in self.metric.metric_state}
        parts = states.split([shape.numel() for shape in shapes.values()])
        for part, (name, shape) in zip(parts, shapes.items(), strict=True):
            setattr(self.metric, name, part.reshape(shape))
        return float(self.metric.compute())

    def _flat(self) -> Tensor:
        states = [getattr(self.metric, name) for name in self.metric.metric_state]
        return torch.cat([state.reshape(-1).double() for state in states])


def resampled(
    metrics: Mapping[tuple[str, int], Mapping[str, ClipStates]], reference: str, seed: int
) -> tuple[dict[str, dict[str, Interval]], dict[str, dict[str, list[float]]]]:
    """Intervals of 95% by resampling the clips, the same ones for all rows.

    Args:
        metrics: Metrics by row and sampling seed, then by column; the sampling seeds of a clip are resampled together.
        reference: The row with which the others are compared.
        seed: Seed of the resampling.

    Returns:
        For each row and column the interval; and for each other row and column the difference from the reference, with
        its interval.
    """
    rows = list(dict.fromkeys(name for name, _ in metrics))
    intervals: dict[str, dict[str, Interval]] = {name: {} for name in rows}
    differences: dict[str, dict[str, list[float]]] = {name: {} for name in rows if name != reference}
    for column in COLUMNS:
        values = {}
        for name in rows:
            seeds = [columns[column] for (row, _), columns in metrics.items() if row == name]
            if not any(metric.states for metric in seeds):
                continue
            stacks = [torch.stack(metric.states) for metric in seeds if metric.states]
            states = torch.cat(stacks) if column in EDITS else torch.stack(stacks).sum(0)
            sums = [states.sum(0), *(states[clips].sum(0) for clips in draw_clips(len(states), seed=seed))]
            values[name] = torch.tensor([seeds[0].value(each) for each in sums], dtype=torch.float64)
            if (interval := _interval(values[name][1:])) is not None:
                intervals[name][column] = interval
        for name in differences.keys() & values.keys():
            change = values[name] - values[reference]
            if (interval := _interval(change[1:])) is not None:
                differences[name][column] = [round(float(change[0]), 6), *interval]
    return intervals, differences


def _interval(values: Tensor) -> Interval | None:
    bounds = percentile_interval(values)
    return None if bounds is None else (round(bounds[0], 6), round(bounds[1], 6))
