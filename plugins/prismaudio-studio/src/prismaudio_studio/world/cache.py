"""A disk cache of rendered clips: memory-mapped arrays and one line of JSON per clip."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.progress import track

from prismaudio.plan.story import Source, Story
from prismaudio.types import Clip
from prismaudio_studio.words import CLASSES
from prismaudio_studio.world.audio import render_audio
from prismaudio_studio.world.sampling import cast_key, sample_scene
from prismaudio_studio.world.video import render_video

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prismaudio_studio.world.bank import SoundBank
    from prismaudio_studio.world.scene import Scene

CHUNK = 32
SAMPLE_RATE_HZ = 16_000
DURATION_S = 4.0
FULL_SCALE = 32_767


class ClipCache:
    """Clips of one split, rendered once and then read from disk.

    An interrupted rendering continues at the next call of :meth:`prepare`.

    Args:
        folder: Parent folder of the caches of all splits.
        split: ``"plain"`` or ``"randomised"``.
        seed: Seed of the scenes.
        count: Number of clips.
        held_out: Whether the scenes are held out of training.
        size: Height and width of the frames.
        fps: Frames per second.
        bank: Recordings that things sound like; None for synthesis alone.
        cast: The classes of things.
        sample_rate_hz: Sample rate of the audio.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        seed: int,
        count: int,
        *,
        held_out: bool,
        size: int = 48,
        fps: float = 16.0,
        bank: SoundBank | None = None,
        cast: Sequence[str] = CLASSES,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
    ) -> None:
        self.bank, self.cast, self.sample_rate_hz = bank, tuple(cast), sample_rate_hz
        self.split, self.seed, self.count, self.held_out, self.size, self.fps = split, seed, count, held_out, size, fps
        part = "held-out" if held_out else "training"
        sounds = "" if bank is None else f"-recordings-{bank.hash}"
        sounds += "".join(f"-cast-{key:08x}" for key in cast_key(self.cast))
        sounds += "" if sample_rate_hz == SAMPLE_RATE_HZ else f"-{sample_rate_hz}hz"
        self.folder = folder / f"{split}-{part}-seed{seed}-{size}px-{fps:g}fps{sounds}"
        self.stories: list[Story] = []

    def __len__(self) -> int:
        return self.count

    def prepare(self, processes: int = 1) -> None:
        """Render the missing clips, with a progress bar."""
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [start for start in range(0, self.count, CHUNK) if not self._chunk(start).exists()]
        jobs = [(self, start) for start in missing]
        done: Iterable[None]
        if processes > 1 and len(jobs) > 1:
            with multiprocessing.get_context("spawn").Pool(processes, _one_thread) as pool:
                done = pool.imap_unordered(_render_chunk, jobs)
                _show_progress(done, len(jobs), self.folder.name)
        else:
            _show_progress(map(_render_chunk, jobs), len(jobs), self.folder.name)

    def clip(self, index: int) -> Clip:
        """A clip with frames and audio."""
        start = index - index % CHUNK
        frames = np.load(self._chunk(start) / "frames.npy", mmap_mode="r")[index - start]
        audio = np.load(self._chunk(start) / "audio.npy", mmap_mode="r")[index - start]
        return Clip(
            id=f"{self.folder.name}-{index}",
            duration_s=DURATION_S,
            frames=torch.from_numpy(np.array(frames)),
            fps=self.fps,
            audio=torch.from_numpy(audio.astype(np.float32) / FULL_SCALE),
            sample_rate_hz=self.sample_rate_hz,
        )

    def story(self, index: int) -> Story:
        """The ground-truth story of a clip."""
        if not self.stories:
            for start in range(0, self.count, CHUNK):
                self.stories += [
                    _parse_story(line) for line in (self._chunk(start) / "stories.jsonl").read_text().splitlines()
                ]
        return self.stories[index]

    def scenes(self, start: int) -> Iterator[Scene]:
        """The scenes of the chunk that begins at ``start``."""
        for index in range(start, start + CHUNK):
            yield sample_scene(index, self.seed, self.split, held_out=self.held_out, cast=self.cast)

    def _chunk(self, start: int) -> Path:
        return self.folder / f"{start:06d}"

    def render(self, start: int) -> None:
        """Render one chunk to a temporary folder and rename it."""
        partial = self.folder / f"{start:06d}.partial-{os.getpid()}"
        partial.mkdir(exist_ok=True)
        scenes = list(self.scenes(start))
        np.save(partial / "frames.npy", np.stack([render_video(scene, self.size, self.fps) for scene in scenes]))
        audio = np.stack([render_audio(scene, self.sample_rate_hz, self.bank) for scene in scenes])
        np.save(partial / "audio.npy", (audio.clip(-1, 1) * FULL_SCALE).round().astype(np.int16))
        lines = [json.dumps(asdict(scene.story)) for scene in scenes]
        (partial / "stories.jsonl").write_text("\n".join(lines) + "\n")
        partial.rename(self._chunk(start))


def _render_chunk(job: tuple[ClipCache, int]) -> None:
    cache, start = job
    cache.render(start)


def _one_thread() -> None:
    torch.set_num_threads(1)


def _show_progress(done: Iterable[None], total: int, name: str) -> None:
    for _ in track(done, f"rendering {name}", total=total, disable=total == 0):
        pass


def _parse_story(line: str) -> Story:
    fields: dict[str, Any] = json.loads(line)
    sources = tuple(
        Source(
            what=s["what"],
            onsets_s=tuple(s["onsets_s"]),
            end_s=s["end_s"],
            azimuth_deg=None if s["azimuth_deg"] is None else tuple(s["azimuth_deg"]),
            size=s["size"],
        )
        for s in fields["sources"]
    )
    return Story(sources, fields["quality"], fields["room"])
