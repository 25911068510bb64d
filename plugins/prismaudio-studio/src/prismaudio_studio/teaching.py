"""Teach the studio model a new sound: one more class, learned from a folder of recordings."""

from __future__ import annotations

import logging
import math
import secrets
import shutil
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from lightning.pytorch import Trainer
from rich.progress import track
from torch.optim import AdamW
from torch.utils.data import Dataset

from prismaudio.checkpoints import save_components
from prismaudio.data.buckets import Draw, batch_loader
from prismaudio.encoders.base import by_stream
from prismaudio.errors import MediaError, reason
from prismaudio.inference import PrismAudio, Settings
from prismaudio.media.files import check_writable
from prismaudio.training.foundation import FoundationTask
from prismaudio.training.schedule import CosineWithWarmup
from prismaudio.types import Clip, ClipBatch
from prismaudio.weight_files import read_safetensors
from prismaudio_footage.families import UNKNOWN
from prismaudio_studio.narration import written
from prismaudio_studio.planner.event import EventPlanner
from prismaudio_studio.widening import plan_grid, widened
from prismaudio_studio.words import CLASSES
from prismaudio_studio.world.audio import render_audio
from prismaudio_studio.world.folder import FolderBank
from prismaudio_studio.world.sampling import SPLITS, sample_scene
from prismaudio_studio.world.video import render_video

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from torch.utils.data import DataLoader

    from prismaudio.plan.story import Story
    from prismaudio_studio.world.voices import Sounds

    Lesson = tuple[Clip, Story]

CHECKED = 8
"""Held-out scenes of the new class, of the one that it is like, and of all others, on which the loss is measured."""
_TOGETHER = 3
"""Most classes of a scene of the model's own sounds."""


# Clips ---------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Stage:
    """Renders scenes as clips of a model, with their stories.

    Args:
        seed: Seed of the scenes.
        settings: Frame rate and size of the model.
        rate_hz: Sample rate of its autoencoder.
        held_out: Whether the scenes are those that are not trained on.
    """

    seed: int
    settings: Settings
    rate_hz: int
    held_out: bool = False

    def taught(self, count: int, noun: str, like: str, bank: Sounds) -> list[Lesson]:
        """Scenes of a new class: those of a class that moves alike, with the sound of recordings."""
        lessons = []
        for index in track(range(count), f"rendering {noun}", transient=True):
            clip, story = self._lesson(noun, index, (like,), bank, audible=True)
            sources = tuple(replace(source, what=noun) for source in story.sources)
            lessons.append((clip, replace(story, sources=sources)))
        return lessons

    def synthetic(self, name: str, count: int, cast: Sequence[str]) -> list[Lesson]:
        """Scenes of classes with a synthetic sound."""
        return [self._lesson(name, index, cast, audible=True) for index in range(count)]

    def remembered(self, name: str, count: int, classes: Sequence[str], model: PrismAudio) -> list[Lesson]:
        """Scenes of other classes, with the audio that the model generates for them.

        They are generated without guidance, which would make them unlike the clips that the model was trained on.
        """
        order = np.random.default_rng(self.seed).permutation(len(classes))
        lessons = []
        for index in track(range(count), "generating what it knows", transient=True, disable=not count):
            cast = [classes[order[(index + step) % len(classes)]] for step in range(min(_TOGETHER, len(classes)))]
            clip, story = self._lesson(name, index, cast)
            plan = written(story, "decomposed", clip.id)
            audio = model.render([clip], [plan], [index], guidance=1.0)[0]
            lessons.append((replace(clip, audio=audio, sample_rate_hz=self.rate_hz), story))
        return lessons

    def _lesson(
        self, name: str, index: int, cast: Sequence[str], bank: Sounds | None = None, *, audible: bool = False
    ) -> Lesson:
        scene = sample_scene(index, self.seed, SPLITS[index % 2], held_out=self.held_out, cast=cast)
        spec = self.settings.frame_spec
        frames = torch.as_tensor(render_video(scene, spec.size, spec.fps))
        audio = torch.as_tensor(render_audio(scene, self.rate_hz, bank)) if audible else None
        name = f"{name} {'held out ' if self.held_out else ''}{index}"
        clip = Clip(name, scene.duration_s, frames, spec.fps, audio, self.rate_hz if audible else None)
        if (
            index // 2 % 2
        ):  # in half of the scenes of each split; else a stated size would tell old classes from a new one
            return clip, scene.story
        return clip, replace(scene.story, sources=tuple(replace(source, size=None) for source in scene.story.sources))


class Lessons(Dataset[ClipBatch]):
    """Batches of clips with plans that are worded differently in each epoch.

    Args:
        lessons: Clips with their stories.
        seed: Seed of the wording.
    """

    def __init__(self, lessons: Sequence[Lesson], seed: int) -> None:
        self.lessons, self.seed = lessons, seed

    def __len__(self) -> int:
        return len(self.lessons)

    def __getitem__(self, draws: Sequence[Draw]) -> ClipBatch:
        found = [self.lessons[draw.clip] for draw in draws]
        plans = [
            written(story, "decomposed", f"{self.seed} {draw.epoch} {draw.clip}")
            for draw, (_, story) in zip(draws, found, strict=True)
        ]
        return ClipBatch([clip for clip, _ in found], plans)

    def loader(self, batch_size: int, *, shuffle: bool) -> DataLoader[Any]:
        """The batches, in random order or in that of the list."""
        return batch_loader(self, [1] * len(self), batch_size, self.seed, shuffle=shuffle)


# Training ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class TeachingOptions:
    """How a model is taught.

    Args:
        steps: Optimizer steps.
        clips: Clips of the new class, half as many of the one that it is like, and as many of all that the model has.
        batch_size: Clips in a batch.
        learning_rate: Highest learning rate, after a warm-up.
        seed: Seed of scenes, order and noise.
        precision: That of Lightning's trainer.
    """

    steps: int = 300
    clips: int = 96
    batch_size: int = 12
    learning_rate: float = 3e-4
    seed: int = 0
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"


@dataclass(frozen=True)
class Taught:
    """A model that was taught a new class.

    Args:
        parts: Its components by name.
        loss: Loss on held-out scenes of the new class before and after training, with the same noise; their sounds are
            those of the recordings that it is trained on.
        alike: The same on scenes of the class that it is like.
        others: The same on scenes of all classes that it had.
    """

    parts: dict[str, Any]
    loss: tuple[float, float]
    alike: tuple[float, float]
    others: tuple[float, float]


def teach(
    parts: Mapping[str, Any], noun: str, like: str, files: Sequence[Path], options: TeachingOptions = TeachingOptions()
) -> Taught:
    """Train a model on a new class and on the ones that it has.

    The new class begins with the weights of one that moves and sounds alike in time. Two in five clips are scenes of
    that class with the sound of the recordings. The others keep what the model knows, one in five the sound of that
    class in the same scenes: synthetic classes are rendered, and of others the audio is what the model generates.

    Args:
        parts: Components of the model by name; they are not changed.
        noun: The new class, see :func:`prismaudio_studio.widening.usable_noun`.
        like: A class of the model.
        files: Recordings of the new class, see :func:`prismaudio_studio.world.folder.find_recordings`.
        options: Steps, clips and rates.

    Raises:
        CheckpointError: The model has no plan grid.
        KeyboardInterrupt: Ctrl-C.
    """
    new = widened(parts, noun, like)
    train, checks = _lessons(parts, noun, like, files, options)
    task = FoundationTask(
        transformer=new["transformer"],
        encoders=by_stream(new),
        autoencoder=new["autoencoder"],
        optimizer=partial(AdamW, lr=options.learning_rate, betas=(0.9, 0.98)),
        lr_scheduler=partial(CosineWithWarmup, warmup_steps=min(20, options.steps // 4)),
        swap_video=0.4,
        time_mean=0.6,
        seed=options.seed,
    )
    before = [_loss(task, lessons, options) for lessons in checks]
    batches = train.loader(options.batch_size, shuffle=True)
    epochs = math.ceil(options.steps / len(batches))
    with _plainly():
        _trainer(options, max_steps=options.steps, max_epochs=epochs, gradient_clip_val=1.0).fit(task, batches)
    after = [_loss(task, lessons, options) for lessons in checks]
    new["transformer"] = task.transformer.eval()
    return Taught(new, *zip(before, after, strict=True))


def _lessons(
    parts: Mapping[str, Any], noun: str, like: str, files: Sequence[Path], options: TeachingOptions
) -> tuple[Lessons, list[Lessons]]:
    """What is trained on, and what the loss is measured on: scenes of the new class, of that it is like, of others.

    The new class and the one that it is like have the same scenes, so that only their names tell their sounds apart.
    """
    planner, codec = parts.get("planner"), parts["autoencoder"]
    settings = parts.get("settings") or Settings()
    model = PrismAudio(parts["transformer"], codec, by_stream(parts), planner, parts.get("sampler"), settings).to("cpu")
    classes = plan_grid(parts)[1].classes
    synthetic = [name for name in CLASSES if name in classes]
    own = [name for name in classes if name not in CLASSES]
    own += [UNKNOWN] * bool(own)
    shown = planner.taught.get(like, like) if isinstance(planner, EventPlanner) else like
    bank = FolderBank(files)

    def others(stage: Stage, count: int) -> list[Lesson]:
        n_own = (count // 2 if synthetic else count) if own else 0
        made = stage.remembered("own", n_own, own, model)
        return made + stage.synthetic("synthetic", count - n_own, synthetic)

    def alike(stage: Stage, count: int) -> list[Lesson]:
        if like in synthetic:
            return stage.synthetic("alike", count, (like,))
        return stage.remembered("alike", count, (like,), model)

    train, check = (Stage(options.seed, settings, codec.sample_rate_hz, held_out) for held_out in (False, True))
    trained = [
        *train.taught(options.clips, noun, shown, bank),
        *alike(train, options.clips // 2),
        *others(train, options.clips),
    ]
    checked = [check.taught(CHECKED, noun, shown, bank), alike(check, CHECKED), others(check, CHECKED)]
    return Lessons(trained, options.seed), [Lessons(lessons, options.seed) for lessons in checked]


def _trainer(options: TeachingOptions, **arguments: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        devices=1,
        precision=options.precision,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        **arguments,
    )


def _loss(task: FoundationTask, lessons: Lessons, options: TeachingOptions) -> float:
    with _plainly():
        trainer = _trainer(options, enable_progress_bar=False)
        found = trainer.validate(task, lessons.loader(options.batch_size, shuffle=False), verbose=False)
    return float(found[0]["val_loss"])


@contextmanager
def _plainly() -> Iterator[None]:
    """Undo that Lightning turns Ctrl-C into exit code 1, tells what it uses, and asks for a validation in training."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You defined a `validation_step`")
            yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from None
        raise
    finally:
        logger.setLevel(level)


# Files ---------------------------------------------------------------------------------------------------------------
def check_target(folder: Path, source: Path, *, force: bool) -> None:
    """Check, before long work, that a model can be written to a folder.

    Args:
        folder: The folder.
        source: The folder of the model that is taught, which is never replaced.
        force: Whether an existing model may be replaced.

    Raises:
        MediaError: It cannot.
    """
    if folder.resolve() == source.resolve():
        raise MediaError(
            f"{folder} is the model that is taught and is never overwritten; choose another folder with -o"
        )
    if folder.is_dir() and (folder / "config.json").is_file():
        if not force:
            raise MediaError(f"{folder} has a model; choose another folder with -o, or add --force")
    elif folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise MediaError(f"{folder} exists and is no model folder; choose another folder with -o")
    check_writable(folder.absolute().parent)


def save_model(folder: Path, parts: Mapping[str, Any], source: Path) -> None:
    """Write a model to a temporary folder, which then takes the place of ``folder``.

    Args:
        folder: The folder, see :func:`check_target`.
        parts: Components by name.
        source: The folder of the model that was taught: its notices are copied, and what it stores in half precision is
            stored so.

    Raises:
        MediaError: The folder cannot be written.
    """
    stored = read_safetensors(source / "model.safetensors")
    half = {name.partition(".")[0] for name, weight in stored.items() if weight.dtype == torch.float16}
    folder = folder.absolute()
    part, previous = (
        folder.with_name(f".{folder.name[:80]}-{secrets.token_hex(8)}.{name}") for name in ("part", "previous")
    )
    try:
        save_components(part, parts, half & parts.keys())
        for notice in source.glob("NOTICE*"):
            shutil.copyfile(notice, part / notice.name)
        if folder.exists():  # folders are not replaced at once
            folder.rename(previous)
        part.rename(folder)
    except OSError as error:
        raise MediaError(f"cannot write {folder}: {reason(error)}; choose another folder with -o") from error
    finally:
        if previous.exists() and not folder.exists():
            previous.rename(folder)
        for left in (part, previous):
            shutil.rmtree(left, ignore_errors=True)
