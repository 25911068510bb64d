"""The studio benchmark: quality of the audio generated for held-out clips of the procedural world."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from rich.console import Console
from rich.progress import Progress

from prismaudio.benchmarks import Benchmark
from prismaudio.benchmarks.report import Report
from prismaudio.cli import arguments
from prismaudio.inference import PrismAudio
from prismaudio.inference.sampling import make_sampler
from prismaudio.metrics.target import Target
from prismaudio_studio.benchmark.edits import EDITS, edit
from prismaudio_studio.benchmark.rows import ROWS, Row, make_rows
from prismaudio_studio.benchmark.stage import RATE_HZ, Camera, Take, take
from prismaudio_studio.metrics import edit_metrics, family_metrics, studio_metrics
from prismaudio_studio.words import CLASSES
from prismaudio_studio.world.bank import SoundBank
from prismaudio_studio.world.sampling import sample_scene

if TYPE_CHECKING:
    import argparse

    from torch import Tensor

    from prismaudio.metrics.base import AudioMetric
    from prismaudio_studio.world.scene import Scene

NEED_A_MODEL = ("codec", "given_plan", "end_to_end")
COLUMNS = (*studio_metrics(), *EDITS)
Step = Callable[[int, int], None]


class Measure(Protocol):
    """What the benchmark needs of a metric."""

    @property
    def update_called(self) -> bool:
        """Whether any clip was added."""

    def update(self, audio: Tensor, sample_rate_hz: int, targets: Sequence[Target]) -> None:
        """Add clips."""

    def compute(self) -> Tensor:
        """The value of all clips."""


M = TypeVar("M", bound=Measure)
Metrics = Mapping[tuple[str, int], Mapping[str, Measure]]


@dataclass(frozen=True)
class StudioBenchmark(Benchmark):
    """Measures the quality of the audio generated for held-out clips of the procedural world.

    Args:
        seed: Seed of the held-out clips.
        limit: Number of clips.
        split: ``"plain"`` or ``"randomised"``.
        seeds: Number of sampling seeds.
        edit_limit: Number of clips with a single source whose plan is edited, divided among the sampling seeds.
        batch_size: Clips generated per batch; it affects only the speed.
        guidance: Scale of classifier-free guidance; None for the model's default.
        sampler: Class name of the model's sampler, for the report; None for the model's own.
        steps: Its number of steps, for the report; None for its default.
        rows: Rows to measure.
        recordings: Table of recordings: the clips show the families that sound like its held-out ones, and no plan is
            edited; None for the synthetic classes.
        picture: ``"training"`` for frames of the training size, ``"filmed"`` for the size and frame rate of
            ``prismaudio studio render``; by default filmed for randomised clips and training for plain ones.
    """

    seed: int = 0
    limit: int = 300
    split: str = "plain"
    seeds: int = 3
    edit_limit: int = 100
    batch_size: int = 16
    guidance: float | None = None
    sampler: str | None = None
    steps: int | None = None
    rows: tuple[str, ...] = ROWS
    recordings: str | None = None
    picture: str | None = None

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``prismaudio bench studio``."""
        parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of the held-out clips")
        parser.add_argument("--limit", type=arguments.positive, default=300, help="number of clips")
        parser.add_argument("--split", choices=("plain", "randomised"), default="plain", help="visual variation")
        parser.add_argument("--model", metavar="NAME|DIR|ID", help="model to evaluate; the installed one by default")
        arguments.add_revision(parser)
        parser.add_argument("--seeds", type=arguments.positive, default=3, help="number of sampling seeds")
        parser.add_argument(
            "--edit-limit", type=arguments.whole(0, 2**31 - 1), default=100, help="number of clips whose plan is edited"
        )
        parser.add_argument(
            "--rows", type=arguments.names("row", ROWS), default=ROWS, help="rows to measure, separated by commas"
        )
        parser.add_argument(
            "--guidance",
            type=arguments.number(0, 100),
            help="scale of classifier-free guidance; the model's default if not given",
        )
        parser.add_argument("--sampler", metavar="NAME", help="sampler class; the model's own if not given")
        parser.add_argument("--steps", type=arguments.whole(1, 1000), help="number of sampling steps")
        parser.add_argument(
            "--picture",
            choices=("training", "filmed"),
            help="frame size and rate: of training, or of rendered files; by default filmed for randomised only",
        )
        parser.add_argument(
            "--recordings",
            metavar="TABLE",
            help="measure the families that sound like recordings, on the held-out ones of this table, as prismaudio "
            "studio recordings writes it; needs prismaudio-yamnet",
        )
        parser.add_argument("--batch-size", type=arguments.positive, default=16, help="clips generated per batch")

    @classmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Evaluate the model that the options name."""
        needs_model = any(row in options.rows for row in NEED_A_MODEL)
        model = PrismAudio.from_pretrained(options.model, revision=options.revision) if needs_model else None
        if model is not None:
            model.sampler = make_sampler(model.sampler, options.sampler, options.steps)
        benchmark = cls(**{f.name: getattr(options, f.name) for f in fields(cls)})
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task(f"studio, {options.split}")
            return benchmark.run(model, lambda done, total: progress.update(task, completed=done, total=total))

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:
        """Print a table with one line per metric and one column per row."""
        console.print(
            report.table(f"studio, {options.split}, {options.limit} held-out clips, {options.seeds} sampling seeds")
        )

    def run(self, model: PrismAudio | None, on_step: Step = lambda *_: None) -> Report:
        """Evaluate a model.

        Args:
            model: The model; None to measure only the rows without a model.
            on_step: Called with (clips evaluated, total).

        Returns:
            Means and standard deviations over the sampling seeds.
        """
        start_s = time.monotonic()
        rows = make_rows(self.rows, model, self.guidance)
        report = summary(self.measured(rows, self._camera(model), on_step, lambda metric: metric))
        seconds = round(time.monotonic() - start_s, 1)
        report.meta = {**self.settings(), "model": model.name if model else None, "seconds": seconds}
        return report

    def measured(
        self, rows: Mapping[str, Row], camera: Camera | None, on_step: Step, measure: Callable[[AudioMetric], M]
    ) -> dict[tuple[str, int], dict[str, M]]:
        """Update the metrics of each row and sampling seed with all clips, and with clips whose plan is edited.

        Args:
            rows: The rows by name.
            camera: Renders the videos; None if no row needs them.
            on_step: Called with (clips evaluated, total).
            measure: Called with each metric; its result is updated instead.

        Returns:
            The metrics by row and sampling seed, then by column.
        """
        counter = _Counter(on_step, self._total(rows))
        metrics = {
            (name, seed): {column: measure(metric) for column, metric in self._metrics().items()}
            for name, row in rows.items()
            for seed in self._row_seeds(row)
        }
        self._measure_clips(rows, camera, metrics, counter)
        if not self.recordings:
            self._measure_edits(rows, camera, metrics, counter)
        return metrics

    def _metrics(self) -> dict[str, AudioMetric]:
        return family_metrics() if self.recordings else studio_metrics() | edit_metrics()

    @cached_property
    def _bank(self) -> SoundBank | None:
        return SoundBank(self.recordings) if self.recordings else None

    @cached_property
    def _cast(self) -> tuple[str, ...]:
        return CLASSES if self._bank is None else self._bank.held_out

    def scenes(self) -> Iterator[tuple[int, Scene]]:
        """The held-out scenes with their indices."""
        for index in range(self.limit):
            yield index, sample_scene(index, self.seed, self.split, held_out=True, cast=self._cast)

    def _row_seeds(self, row: Row) -> range:
        return range(self.seeds if row.seeded else 1)

    def _total(self, rows: Mapping[str, Row]) -> int:
        n_single = sum(len(scene.things) == 1 for _, scene in self.scenes())
        n_edits = 0 if self.recordings else len(EDITS) * min(self.edit_limit, n_single)
        return n_edits * len(rows) + self.limit * sum(len(self._row_seeds(row)) for row in rows.values())

    def _camera(self, model: PrismAudio | None) -> Camera | None:
        if model is None or not {"given_plan", "end_to_end"} & set(self.rows):
            return None
        filmed = self.split == "randomised" if self.picture is None else self.picture == "filmed"
        return Camera(filmed, model.settings.frame_spec)

    def _takes(self, camera: Camera | None, scenes: Sequence[tuple[int, Scene]]) -> Iterator[list[Take]]:
        """Batches of rendered clips."""
        for start in range(0, len(scenes), self.batch_size):
            yield [take(index, scene, camera, self._bank) for index, scene in scenes[start : start + self.batch_size]]

    def _measure_clips(
        self, rows: Mapping[str, Row], camera: Camera | None, metrics: Metrics, counter: _Counter
    ) -> None:
        for takes in self._takes(camera, list(self.scenes())):
            targets = [item.target for item in takes]
            for (name, seed), columns in metrics.items():
                plain = [metric for column, metric in columns.items() if column not in EDITS]
                _update(plain, rows[name].audio(takes, seed), targets)
                counter.add(len(takes))

    def _measure_edits(
        self, rows: Mapping[str, Row], camera: Camera | None, metrics: Metrics, counter: _Counter
    ) -> None:
        single = [(index, scene) for index, scene in self.scenes() if len(scene.things) == 1][: self.edit_limit]
        for turn in range(self.seeds):
            for takes in self._takes(camera, single[turn :: self.seeds]):
                for name, row in rows.items():
                    seed = turn if row.seeded else 0
                    for column in EDITS:
                        self._measure_edit(row, column, metrics[name, seed][column], takes, seed)
                        counter.add(len(takes))

    def _measure_edit(self, row: Row, column: str, metric: Measure, takes: Sequence[Take], seed: int) -> None:
        pairs = []
        for item in takes:
            rng = random.Random(f"{column} {self.seed} {item.index}")
            story = edit(column, row.story(item), item.scene.duration_s, rng)
            if story is not None:
                pairs.append((item, story))
        if pairs:
            chosen, stories = zip(*pairs, strict=True)
            audio = row.edited_audio(chosen, stories, seed)
            _update([metric], audio, [Target.from_story(story) for story in stories])

    def settings(self) -> dict[str, object]:
        """The settings of the benchmark and the versions, for the report."""
        from prismaudio import __version__

        settings: dict[str, object] = {"seed": self.seed, "limit": self.limit, "split": self.split, "seeds": self.seeds}
        settings |= {"sampler": self.sampler, "steps": self.steps}
        settings |= {"edit_limit": self.edit_limit, "guidance": self.guidance, "picture": self.picture}
        settings |= {"recordings": self.recordings}
        return {**settings, "versions": {"prismaudio": __version__, "torch": torch.__version__}}


class _Counter:
    """Counts the evaluated clips."""

    def __init__(self, on_step: Step, total: int) -> None:
        self.on_step, self.total, self.done = on_step, total, 0

    def add(self, n: int) -> None:
        self.done += n
        self.on_step(self.done, self.total)


def _update(metrics: Iterable[Measure], audio: Sequence[Tensor], targets: Sequence[Target]) -> None:
    batch = torch.stack(list(audio))
    for metric in metrics:
        metric.update(batch, RATE_HZ, targets)


def summary(metrics: Metrics) -> Report:
    """The report of metrics: a value for each sampling seed of a row."""
    names = tuple(next(iter(metrics.values()), COLUMNS))
    report = Report(names, {name: {} for name, _ in metrics})
    for (name, _), columns in metrics.items():
        for column, metric in columns.items():
            if metric.update_called:
                report.add(name, column, float(metric.compute()))
    return report
