"""Held-out clips of the world as a suite."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Literal

from prismaudio.data.manifest import ManifestEntry
from prismaudio.evaluation.suites import Suite
from prismaudio_studio.narration import narrate
from prismaudio_studio.words import CLASSES
from prismaudio_studio.world import sample_scene
from prismaudio_studio.world.bank import SoundBank
from prismaudio_studio.world.files import clip_files, write_scene

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIZE_PX, FPS = (256, 256), 24.0


class StudioSuite(Suite):
    """Held-out clips of the procedural world with their exact truth, rendered into the folder of the evaluation.

    Args:
        count: Number of clips.
        seed: Seed of the clips.
        split: Visual variation of the clips.
        recordings: Table of recordings that things sound like, their held-out sources; None for synthesis alone.
        families: Whether to show the families whose recordings are held out in part, in place of the synthetic classes.
    """

    group = "events"

    def __init__(
        self,
        count: int = 100,
        seed: int = 0,
        split: Literal["plain", "randomised"] = "plain",
        recordings: str | None = None,
        *,
        families: bool = False,
    ) -> None:
        if count < 1:
            raise ValueError(f"count is {count}; expected 1 or more")
        if split not in ("plain", "randomised"):
            raise ValueError(f"split is {split!r}; expected plain or randomised")
        self.count, self.seed, self.split = count, seed, split
        self.bank = None if recordings is None else SoundBank(recordings)
        if families and self.bank is None:
            raise ValueError("families is true and recordings is not set; give a table of recordings")
        self.cast = self.bank.held_out if families and self.bank is not None else CLASSES

    def clips(self, folder: Path, sections: Sequence[str]) -> list[ManifestEntry]:
        """See :meth:`prismaudio.evaluation.suites.Suite.clips`; clips that are there are kept."""
        folder.mkdir(parents=True, exist_ok=True)
        entries = []
        for index in range(self.count):
            scene = sample_scene(index, self.seed, self.split, held_out=True, cast=self.cast)
            look = self.split == "randomised"
            size_px, fps = (scene.look.size_px, scene.look.fps) if look else (SIZE_PX, FPS)
            if write_scene(scene, folder, size_px, fps, bank=self.bank):
                sys.stderr.write(f"rendered {index + 1}/{self.count} {scene.id}\n")
            files = clip_files(folder, scene.id)
            plan = narrate(scene.story, random.Random(scene.key))
            events = "single" if len(scene.story.sources) == 1 else "multi"
            entries.append(
                ManifestEntry(
                    scene.id,
                    files.path(".silent.mp4"),
                    files.path(".wav"),
                    captions=(plan["semantic"],),
                    plans=(plan,),
                    split="test",
                    columns={"events": events},
                )
            )
        return entries
