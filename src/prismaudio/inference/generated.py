"""Generated audio, with everything that is needed to reproduce it."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile

from prismaudio.audio.spectrogram import spectrogram_png
from prismaudio.errors import MediaError
from prismaudio.media import VIDEO_SUFFIXES, replacing, write_video_with_audio, write_wav
from prismaudio.media.files import spare

if TYPE_CHECKING:
    from torch import Tensor

    from prismaudio.plan import Plan


@dataclass(frozen=True, eq=False)
class GeneratedAudio:
    """Output of :meth:`prismaudio.PrismAudio.generate`.

    Args:
        plan: The rendered plan.
        audio: Audio float32 ``(2, samples)`` in -1 .. 1.
        sample_rate_hz: Sample rate of the audio.
        seed: Seed of the noise.
        settings: Model, versions and options.
        warnings: Warnings about the plan and the options.
        video: The video of the audio; None for audio from text.
    """

    plan: Plan
    audio: Tensor
    sample_rate_hz: int
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    video: Path | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.audio.shape[-1] / self.sample_rate_hz

    def save(self, path: str | Path) -> None:
        """Save as ``.wav`` (audio), ``.mp4``, ``.mov``, ``.mkv`` (the video with the audio) or ``.png`` (spectrogram).

        Raises:
            MediaError: The file cannot be written, is the source video, or there is no video for a video file.
        """
        if self.video is not None:
            spare(Path(path), [self.video])
        suffix = Path(path).suffix.lower()
        if suffix == ".wav":
            write_wav(self.audio, self.sample_rate_hz, path)
        elif suffix == ".png":
            with replacing(path) as part:
                part.write_bytes(self.spectrogram())
        elif suffix in VIDEO_SUFFIXES and self.video is not None:
            write_video_with_audio(self.video, self.audio, self.sample_rate_hz, path)
        elif suffix in VIDEO_SUFFIXES:
            raise MediaError(f"cannot write {path}: this audio was generated without a video; save it as .wav")
        else:
            raise MediaError(f"cannot write {path}: expected .wav, .png, {', '.join(VIDEO_SUFFIXES)}")

    def spectrogram(self) -> bytes:
        """Spectrogram of both channels with the plan's events, as PNG."""
        return spectrogram_png(self.audio, self.sample_rate_hz, self.plan.story)

    def describe(self) -> dict[str, Any]:
        """A JSON-serialisable description that suffices to reproduce the audio."""
        return {
            "video": None if self.video is None else str(self.video),
            "duration_s": round(self.duration_s, 6),
            "sample_rate_hz": self.sample_rate_hz,
            "plan": dict(self.plan),
            "plan_text": str(self.plan),
            "plan_origins": self.plan.origins,
            "seed": self.seed,
            **self.settings,
            "notices": list(self.warnings),
        }

    def __repr__(self) -> str:
        shown = f"{self.duration_s:.2f} s at {self.sample_rate_hz} Hz, seed={self.seed}, plan={str(self.plan)!r}"
        return f"GeneratedAudio({shown})"

    def _repr_html_(self) -> str:
        """An audio player, the spectrogram and the plan, for notebooks."""
        wav = io.BytesIO()
        soundfile.write(wav, self.audio.T.numpy(), self.sample_rate_hz, format="WAV", subtype="PCM_16")
        rows = "".join(
            f"<tr><th style='text-align:left;vertical-align:top'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self.plan.items()
        )
        return (
            f"<audio controls src='data:audio/wav;base64,{base64.b64encode(wav.getvalue()).decode()}'></audio><br>"
            f"<img alt='spectrogram' src='data:image/png;base64,{base64.b64encode(self.spectrogram()).decode()}'>"
            f"<table>{rows}</table>"
        )
