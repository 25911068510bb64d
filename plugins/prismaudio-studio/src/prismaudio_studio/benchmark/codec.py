"""What autoencoders change in held-out recordings."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from prismaudio import __version__
from prismaudio.audio.interaural import ild_db, itd_s
from prismaudio.audio.onsets import detect_onsets
from prismaudio.audio.resample import resample
from prismaudio.autoencoders.base import Autoencoder
from prismaudio.benchmarks import Benchmark, Report
from prismaudio.cli import arguments
from prismaudio.errors import CheckpointError, DataError, PrismAudioError, one_line
from prismaudio.metrics.onset import TOLERANCE_S, onset_pairs
from prismaudio.plan.story import SIDE_DEG
from prismaudio.pretrained import find
from prismaudio.registry import discover
from prismaudio_studio.autoencoder import ParametricStereoAutoencoder
from prismaudio_studio.world.audio import placed
from prismaudio_studio.world.bank import read_usable
from prismaudio_studio.world.recordings import Recording, read_recordings

if TYPE_CHECKING:
    import argparse

RATE_HZ = 32_000
"""Sample rate of the originals, and at which results are compared."""
MAX_S = 5.0
PEAK = 0.5
LOW_HZ = 8_000
COLUMNS = (
    *("lsd_db", "lsd_highs_db", "class_unchanged", "onset_f1", "onset_error_ms", "ild_error_db", "itd_error_us"),
    *("encode_speed", "decode_speed", "channels"),
)
Classifier = Callable[[Tensor, int], int]


class CodecBenchmark(Benchmark):
    """Measures what autoencoders change in held-out recordings: spectrum, class, onsets, direction, and their speed."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``prismaudio bench codec``."""
        parser.add_argument(
            "--recordings", type=Path, required=True, metavar="TABLE", help="table of prismaudio studio recordings"
        )
        parser.add_argument(
            "--models",
            nargs="+",
            default=["studio"],
            metavar="NAME|DIR|ID",
            help="models whose autoencoder is measured",
        )
        parser.add_argument(
            "--iterations",
            nargs="+",
            type=arguments.whole(0, 1000),
            metavar="N",
            help="Griffin-Lim iterations, for autoencoders that have them, instead of their own",
        )
        parser.add_argument(
            "--components",
            nargs="+",
            type=arguments.positive,
            metavar="N",
            help="use only the first N components, for a ParametricStereoAutoencoder that has more",
        )
        parser.add_argument("--limit", type=arguments.positive, default=200, help="number of held-out recordings")
        parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of what is held out without a fold")

    @classmethod
    def measure(cls, options: argparse.Namespace) -> Report:
        """Encode and decode held-out recordings with each autoencoder."""
        found = [item for item in read_recordings(options.recordings, options.seed) if item.held_out]
        if not found:
            raise DataError(f"{options.recordings} has no recordings that are held out; state the column fold")
        found = [found[i] for i in np.linspace(0, len(found) - 1, min(options.limit, len(found))).round().astype(int)]
        codecs = [(name, _autoencoder(name)) for name in options.models]
        classify = _classifier()
        originals = [Original.of(recording, classify) for recording in found]
        report = Report(
            COLUMNS, meta={"version": __version__, "recordings": len(found), "threads": torch.get_num_threads()}
        )
        for name, codec in codecs:
            for row, variant in _variants(name, codec, options.components or [], options.iterations or []):
                each = track(originals, row, console=Console(stderr=True))
                for column, value in changes(variant, each, classify).items():
                    report.add(row, column, value)
        return report

    @classmethod
    def show(cls, report: Report, options: argparse.Namespace, console: Console) -> None:
        """Print a line for each autoencoder."""
        table = Table("autoencoder", *(name.replace("_", " ") for name in report.columns))
        for row in report.values:
            cells = (report.cell(row, column) for column in report.columns)
            table.add_row(row, *("-" if cell is None else f"{cell['mean']:.4g}" for cell in cells))
        console.print(f"{report.meta['recordings']} held-out recordings of {options.recordings.name}", table)


def _autoencoder(name: str) -> Autoencoder:
    factories = find(name).factories()
    if "autoencoder" not in factories:
        raise CheckpointError(f"{name} has no autoencoder; expected a model folder with one")
    codec: Autoencoder = factories["autoencoder"]()
    return codec.eval()


def _variants(
    name: str, codec: Autoencoder, components: list[int], iterations: list[int]
) -> Iterator[tuple[str, Autoencoder]]:
    """An autoencoder with each number of components and of iterations, if it has them, named with both and its rate."""
    if not isinstance(codec, ParametricStereoAutoencoder):
        yield name, codec
        return
    for size in [n for n in components if n <= codec.components] or [codec.components]:
        for count in iterations or [codec.iterations]:
            row = f"{name}: {size} / {count} / {codec.sample_rate_hz // 1000} kHz"
            yield row, codec.truncated(size, count)


@dataclass(frozen=True, eq=False)
class Original:
    """A recording to encode, and what was measured of it.

    Args:
        audio: At most 5 s at 32 kHz ``(2, samples)``.
        onsets_s: Its onsets.
        heard: Index of its class; None if nothing classifies it.
    """

    audio: Tensor
    onsets_s: list[float]
    heard: int | None

    @classmethod
    def of(cls, recording: Recording, classify: Classifier | None = None) -> Original:
        """The first 5 s of a recording, from a direction that depends on its name."""
        sound = read_usable(recording.file)
        mono = resample(torch.from_numpy(sound.audio[: round(MAX_S * sound.rate_hz)]), sound.rate_hz, RATE_HZ)
        side = 2 * (crc32(recording.file.name.encode()) % 1001) / 1000 - 1
        audio = torch.from_numpy(placed((PEAK * mono).numpy(), SIDE_DEG * side, RATE_HZ))
        return cls(audio, detect_onsets(audio, RATE_HZ), classify(audio, RATE_HZ) if classify else None)


@torch.no_grad()
def changes(codec: Autoencoder, originals: Iterable[Original], classify: Classifier | None = None) -> dict[str, float]:
    """What an autoencoder changes, by column.

    Args:
        codec: The autoencoder.
        originals: What is encoded and decoded.
        classify: Index of the class of audio; None to leave ``class_unchanged`` out.

    Returns:
        Means over the audio: log-spectral distance in dB below 8 kHz and from there to 16 kHz, share with the same
        class, F1 of onsets within 50 ms, mean error of matched onsets in ms, mean errors of the level difference in dB
        and of the time difference in microseconds, seconds of audio per second of CPU time for both directions.
    """
    analysis = ParametricStereoAutoencoder(sample_rate_hz=RATE_HZ)
    n_low = analysis.window // 2 * LOW_HZ * 2 // RATE_HZ
    low, high, same, ild, itd = [], [], [], [], []
    n_matched = n_onsets = 0
    errors_s: list[float] = []
    audio_s = encode_s = decode_s = 0.0
    for original in originals:
        audio = original.audio
        given = resample(audio, RATE_HZ, codec.sample_rate_hz)[None]
        began = time.process_time()
        latents = codec.encode(given)
        encoded = time.process_time()
        decoded = codec.decode(latents)[..., : given.shape[-1]]
        decode_s, encode_s = decode_s + time.process_time() - encoded, encode_s + encoded - began
        audio_s += audio.shape[-1] / RATE_HZ
        rebuilt = resample(decoded[0], codec.sample_rate_hz, RATE_HZ)[..., : audio.shape[-1]]
        rebuilt = torch.nn.functional.pad(rebuilt, (0, audio.shape[-1] - rebuilt.shape[-1]))
        difference = 8.686 * (analysis.log_magnitude(audio[None]) - analysis.log_magnitude(rebuilt[None]))[0]
        low.append(float(difference[:n_low].square().mean(0).sqrt().mean()))
        high.append(float(difference[n_low:].square().mean(0).sqrt().mean()))
        if classify is not None:
            same.append(float(original.heard == classify(rebuilt, RATE_HZ)))
        onsets, kept = original.onsets_s, detect_onsets(rebuilt, RATE_HZ)
        pairs = onset_pairs(kept, onsets, TOLERANCE_S)
        n_matched, n_onsets = n_matched + 2 * len(pairs), n_onsets + len(onsets) + len(kept)
        errors_s += [abs(kept[i] - onsets[j]) for i, j in pairs]
        ild.append(float((ild_db(audio) - ild_db(rebuilt)).abs()))
        itd.append(float((itd_s(audio, RATE_HZ) - itd_s(rebuilt, RATE_HZ)).abs()))
    values = {
        "lsd_db": np.mean(low),
        "lsd_highs_db": np.mean(high),
        "class_unchanged": np.mean(same) if same else np.nan,
        "onset_f1": n_matched / n_onsets if n_onsets else np.nan,
        "onset_error_ms": 1e3 * np.mean(errors_s) if errors_s else np.nan,
        "ild_error_db": np.mean(ild),
        "itd_error_us": 1e6 * np.mean(itd),
        "encode_speed": audio_s / encode_s,
        "decode_speed": audio_s / decode_s,
        "channels": codec.channels,
    }
    return {column: float(value) for column, value in values.items()}


def _classifier() -> Classifier | None:
    """The class that YAMNet hears, if its plugin and its weights are installed."""
    name = "YamnetInceptionScore"
    try:
        metric = discover().load("metrics", name)()
    except PrismAudioError as error:
        sys.stderr.write(f"class_unchanged is not measured: {one_line(error)}\n")
        return None
    return lambda audio, rate_hz: int(metric.features(audio, rate_hz).argmax())
