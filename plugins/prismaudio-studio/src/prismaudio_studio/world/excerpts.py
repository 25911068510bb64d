"""Sounds cut from recordings: one-shots at their exact onsets, and textures of any length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
import numpy as np
import torch

from prismaudio.audio.onsets import detect_onsets
from prismaudio.audio.recording import flat_tops
from prismaudio.audio.resample import resample
from prismaudio.errors import DataError, MediaError, one_line
from prismaudio.media import read_audio_track
from prismaudio.media.opening import audio_stream, opened

if TYPE_CHECKING:
    from pathlib import Path

    from prismaudio_studio.world.voices import Signal

MIN_RATE_HZ, MAX_RATE_HZ = 16_000, 48_000
MAX_S = 60.0
"""What is longer is cut: more of one recording would weigh it above the others."""
SILENT = 1e-3
"""Peak, -60 dB, below which a recording counts as silent."""
CLIPPED = 0.5
"""Share of samples near the top of their 10 ms block above which a recording counts as clipped; a sine has 0.16."""
OUT_OF_PHASE = -0.3
"""Correlation of the channels below which their mean would cancel."""
MIN_S = 0.03

_FRAME_S = 0.005
_PRE_S, _ATTACK_S = 0.002, 0.001
_RISE_DB, _QUIET_DB, _GONE_DB = 6.0, -20.0, -40.0
_GAP_S, _MAX_SHOT_S = 0.15, 3.0
_SUSTAINED_DB, _SUSTAINED_SHARE, _MIN_SUSTAINED_S = -15.0, 0.6, 1.0
_CROSSFADE_S, _ALIKE = 0.25, 0.5


@dataclass(frozen=True, eq=False)
class MonoSound:
    """The audio of a recording, ready to be cut.

    Args:
        audio: One channel ``(samples,)`` with peak 1.
        rate_hz: Its sample rate, that of the file up to 48 kHz.
        file_rate_hz: Sample rate of the file.
        channels: Number of channels of the file.
        treatment: What was done besides mixing to one channel: first 60 s, first channel; empty for nothing.
    """

    audio: Signal
    rate_hz: int
    file_rate_hz: int
    channels: int
    treatment: str = ""

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.audio) / self.rate_hz


def read_sound(file: Path) -> MonoSound:
    """Read a recording, in one channel with peak 1.

    Of channels that are out of phase the first is used, and of a recording longer than 60 s the first 60 s.

    Raises:
        DataError: It cannot be used: no audio, silent, clipped, below 16 kHz, or shorter than 30 ms.
    """
    try:
        with opened(file) as container:
            if not container.streams.audio:
                raise DataError("has no audio")
            stream = audio_stream(container, file)
            file_rate_hz, channels = int(stream.sample_rate), int(stream.channels)
        if file_rate_hz < MIN_RATE_HZ:
            raise DataError(f"has {file_rate_hz} Hz; expected {MIN_RATE_HZ} Hz or more, for its highs are missing")
        rate_hz = min(file_rate_hz, MAX_RATE_HZ)
        stereo = read_audio_track(file, rate_hz)
    except MediaError as error:
        raise DataError(f"is not audio that can be read: {one_line(error)}") from error
    return _checked(stereo if stereo is not None else torch.zeros(2, 0), rate_hz, file_rate_hz, channels)


def usable_s(file: Path) -> float:
    """Duration of the part of a recording that is used, in seconds, as its header states it.

    Raises:
        DataError: The file is not audio.
    """
    try:
        with opened(file) as container:
            return min(MAX_S, (container.duration or 0) / av.time_base)
    except MediaError as error:
        raise DataError(f"the recording {file} is not audio that can be read: {one_line(error)}") from error


def _checked(stereo: torch.Tensor, rate_hz: int, file_rate_hz: int, channels: int) -> MonoSound:
    treatment = []
    if stereo.shape[1] > MAX_S * rate_hz:
        treatment.append(f"first {MAX_S:g} s of {stereo.shape[1] / rate_hz:.0f}")
        stereo = stereo[:, : round(MAX_S * rate_hz)]
    if not bool(stereo.isfinite().all()):
        raise DataError("holds NaN or infinity; expected finite samples")
    if stereo.shape[1] < MIN_S * rate_hz:
        raise DataError(f"lasts {1e3 * stereo.shape[1] / rate_hz:.0f} ms; expected {1e3 * MIN_S:.0f} ms or more")
    peak = float(stereo.abs().max())
    if peak < SILENT:
        raise DataError("is silent: its peak is below -60 dB")
    if float(flat_tops(stereo[None], rate_hz)) > CLIPPED:
        raise DataError("is clipped: most of its peaks are flat")
    left, right = stereo - stereo.mean(1, keepdim=True)
    power = float((left.square().sum() * right.square().sum()).sqrt())
    if power and float((left * right).sum()) / power < OUT_OF_PHASE:
        treatment.append("first channel, for the channels are out of phase")
        mono = left
    else:
        mono = (left + right) / 2
    return MonoSound((mono / mono.abs().max()).numpy(), rate_hz, file_rate_hz, channels, "; ".join(treatment))


def kind_of(sound: MonoSound) -> str:
    """Whether a recording is ``"sustained"``, loud for most of its time, or one or several ``"one-shot"``."""
    level_db = _levels_db(sound.audio, round(0.02 * sound.rate_hz))
    audible = np.flatnonzero(level_db > level_db.max() + _GONE_DB)
    level_db = level_db[audible[0] : audible[-1] + 1]
    share = float(np.mean(level_db > np.percentile(level_db, 95) + _SUSTAINED_DB))
    lasts = 0.02 * len(level_db) >= _MIN_SUSTAINED_S
    return "sustained" if lasts and share >= _SUSTAINED_SHARE else "one-shot"


def _levels_db(audio: Signal, frame: int) -> Signal:
    padded = np.pad(audio, (0, -len(audio) % frame)).reshape(-1, frame)
    levels: Signal = 10 * np.log10((padded**2).mean(1) + 1e-12)
    return levels


def cut_one_shots(sound: MonoSound, rate_hz: int) -> list[Signal]:
    """The single events of a recording, each from its exact onset until it has decayed or the next one begins.

    Args:
        sound: The recording.
        rate_hz: Sample rate of the result.

    Returns:
        Events ``(samples,)`` with peak 1 at most 3 s long, in order of time; events more than 20 dB below the loudest
        are left out.
    """
    audio = resample(torch.from_numpy(sound.audio), sound.rate_hz, rate_hz)
    lead = round(0.1 * rate_hz)  # an event at the first sample has no rise otherwise
    padded = torch.nn.functional.pad(audio, (lead, 0))
    samples = audio.numpy()
    frame = round(_FRAME_S * rate_hz)
    level_db = _levels_db(samples, frame)
    top_db = float(level_db.max())
    starts: list[int] = []
    for time_s in detect_onsets(padded.expand(2, -1), rate_hz):
        start = max(0, round((time_s - _PRE_S) * rate_hz) - lead)
        at = start // frame
        after = float(level_db[at : at + 12].max(initial=-120.0))
        before = float(level_db[max(0, at - 6) : at].max(initial=-120.0))
        is_loud = after > top_db + _QUIET_DB and after > before + _RISE_DB
        if is_loud and (not starts or start - starts[-1] >= _GAP_S * rate_hz):
            starts.append(start)
    starts = starts or [int(np.argmax(level_db > top_db + _QUIET_DB)) * frame]
    ends = [*starts[1:], len(samples)]
    shots = [_shot(samples[a:b], rate_hz, frame) for a, b in zip(starts, ends, strict=True)]
    return [shot for shot in shots if len(shot) >= MIN_S * rate_hz]


def _shot(part: Signal, rate_hz: int, frame: int) -> Signal:
    """Fade an event in and out, up to where it has decayed."""
    part = part[: round(_MAX_SHOT_S * rate_hz)].copy()
    level_db = _levels_db(part, frame)
    floor_db = float(np.percentile(level_db, 10)) + 3.0
    gone = max(float(level_db.max()) + _GONE_DB, min(floor_db, float(level_db.max()) + _QUIET_DB))
    audible = np.flatnonzero(level_db > gone)
    part = part[: (int(audible[-1]) + 2) * frame]
    rise, fall = max(1, round(_ATTACK_S * rate_hz)), max(1, len(part) // 5)
    part[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)[: len(part)]
    part[-fall:] *= np.linspace(1, 0, fall, dtype=np.float32)
    return part / max(float(np.abs(part).max()), 1e-9)


def texture(sound: MonoSound, n_samples: int, rate_hz: int, rng: np.random.Generator) -> Signal:
    """A sustained sound of any length ``(n_samples,)`` with peak 1: a piece of a recording, or a crossfaded loop.

    Args:
        sound: The recording; what is quiet at its beginning and end is not used.
        n_samples: Length of the result.
        rate_hz: Sample rate of the result.
        rng: Chooses where the piece begins.
    """
    audio = resample(torch.from_numpy(sound.audio), sound.rate_hz, rate_hz).numpy()
    frame = round(0.02 * rate_hz)
    level_db = _levels_db(audio, frame)
    loud = np.flatnonzero(level_db > np.percentile(level_db, 95) + 2 * _SUSTAINED_DB)
    audio = audio[loud[0] * frame : (loud[-1] + 1) * frame]
    if len(audio) < n_samples:
        audio = _looped(audio, n_samples, min(round(_CROSSFADE_S * rate_hz), len(audio) // 3))
    start = int(rng.integers(len(audio) - n_samples + 1))
    piece = audio[start : start + n_samples]
    made: Signal = piece * np.float32(1 / max(float(np.abs(piece).max()), 1e-9))
    return made


def _looped(audio: Signal, n_samples: int, fade: int) -> Signal:
    """Repeat a piece with crossfades, where its end is most like its beginning, so that tones are not cancelled."""
    head, region = audio[:fade], audio[-2 * fade :]
    size = len(region) + fade
    products = np.fft.irfft(np.fft.rfft(region, size) * np.fft.rfft(head, size).conj(), size)[: fade + 1]
    energy = np.concatenate([[0.0], np.cumsum(region.astype(np.float64) ** 2)])
    likeness = products / np.sqrt((energy[fade:] - energy[:-fade]) * float((head**2).sum()) + 1e-12)
    best = int(likeness.argmax())
    piece = audio[: len(audio) - fade + best].copy()
    rise: Signal = np.linspace(0, 1, fade, dtype=np.float32)
    if likeness[best] < _ALIKE:  # powers of unlike signals add, and amplitudes of like ones
        rise = np.sin(np.float32(np.pi / 2) * rise)
    piece[:fade] *= rise
    piece[-fade:] *= rise[::-1]
    step = len(piece) - fade
    count = -(-n_samples // step) + 1
    made = np.zeros(count * step + fade, np.float32)
    for index in range(count):
        made[index * step : index * step + len(piece)] += piece
    return made[fade:-fade]
