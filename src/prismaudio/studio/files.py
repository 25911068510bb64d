"""Scenes written as files that anybody can measure: videos, sound and truth."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from prismaudio.cot.narration import narrate
from prismaudio.media import replacing, write_video, write_video_with_sound, write_wav
from prismaudio.studio.audio import render_audio
from prismaudio.studio.video import render_video

if TYPE_CHECKING:
    from prismaudio.studio.scene import Scene

SAMPLE_RATE_HZ = 16_000


def truth(scene: Scene, size_px: tuple[int, int], fps: float) -> dict[str, Any]:
    """What the truth file of a clip says.

    Args:
        scene: The clip.
        size_px: Height and width of its picture.
        fps: Its pictures per second.
    """
    return {
        "id": scene.id,
        "split": scene.split,
        "held_out": scene.held_out,
        "duration_s": scene.duration_s,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "size_px": list(size_px),
        "fps": fps,
        "events": [
            {"time_s": e.time_s, "class": e.what, "azimuth_deg": e.azimuth_deg, "level_db": e.level_db}
            for e in scene.events
        ],
        "sources": [
            {
                "class": s.what,
                "size": s.size,
                "onsets_s": list(s.onsets_s),
                "end_s": s.end_s,
                "azimuth_deg": list(s.azimuth_deg or ()),
            }
            for s in scene.story.sources
        ],
        "quality": scene.quality,
        "room": scene.room,
        "sections": dict(narrate(scene.story, random.Random(scene.key))),
    }


def _paths(folder: Path, name: str) -> dict[str, Path]:
    endings = {"video": ".mp4", "silent": ".silent.mp4", "sound": ".wav", "truth": ".json"}
    return {kind: folder / f"{name}{ending}" for kind, ending in endings.items()}


def is_written(folder: Path, told: dict[str, Any]) -> bool:
    """Whether all files of a clip are there and tell the same truth."""
    paths = _paths(folder, told["id"])
    if not all(path.is_file() for path in paths.values()):
        return False
    try:
        return bool(json.loads(paths["truth"].read_text(encoding="utf-8")) == told)
    except (OSError, ValueError):
        return False


def write_scene(scene: Scene, folder: Path, size_px: tuple[int, int], fps: float) -> bool:
    """Write a video with sound, the same video silent, the sound and the truth, unless they are there.

    Args:
        scene: What to render.
        folder: Where to; it must exist. The truth is written last, so a clip that has one is complete.
        size_px: Height and width of the picture.
        fps: Pictures per second.

    Returns:
        Whether anything had to be written.

    Raises:
        MediaError: A file cannot be written.
    """
    told = truth(scene, size_px, fps)
    if is_written(folder, told):
        return False
    paths = _paths(folder, scene.id)
    frames = torch.from_numpy(render_video(scene, size_px, fps))
    audio = torch.from_numpy(render_audio(scene, SAMPLE_RATE_HZ))
    write_video(frames, fps, paths["silent"])
    write_video_with_sound(paths["silent"], audio, SAMPLE_RATE_HZ, paths["video"])  # the very same picture
    write_wav(audio, SAMPLE_RATE_HZ, paths["sound"])
    with replacing(paths["truth"]) as part:
        part.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return True
