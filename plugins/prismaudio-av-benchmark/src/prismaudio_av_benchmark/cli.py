"""``prismaudio av-benchmark``: write feature caches of av-benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.cli.arguments import Parser, number
from prismaudio.errors import CheckpointError, DataError, MediaError, PrismAudioError
from prismaudio.paths import expanded
from prismaudio.progress import Reporter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prismaudio_av_benchmark.embedder import AudioEmbedder

NETWORKS = ("panns", "vggish", "passt", "imagebind")
_EPILOG = """\
Networks without weights on this machine are left out, and the reason is printed. A cache that exists with the same
clips is kept. prismaudio evaluate caches computes the values of av-benchmark from the folders.

examples:
  prismaudio av-benchmark references/ --videos references/ -o gt-cache
  prismaudio av-benchmark generated/ -o generated/cache
  prismaudio evaluate caches --reference gt-cache --generated generated/cache
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio av-benchmark``."""
    parser = Parser(
        "prismaudio av-benchmark",
        description="Write feature caches of av-benchmark: pann_features.pth, vggish_features.pth, "
        "passt_features_embed.pth, passt_logits.pth, imagebind_audio.pth, and with --videos imagebind_video.pth.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("audio", metavar="DIR", help="folder of audio files, or of videos with audio")
    parser.add_argument("--videos", metavar="DIR", help="folder of videos, for the features of frames")
    parser.add_argument("-o", "--output", required=True, metavar="CACHE", help="folder of the caches, which is made")
    parser.add_argument(
        "--audio-length", type=number(0.1, 3600), default=8.0, metavar="S",
        help="seconds of each clip that are used, as --audio_length of av-benchmark (default: 8)",
    )  # fmt: skip
    parser.add_argument(
        "--networks", nargs="+", choices=NETWORKS, default=NETWORKS, metavar="NAME",
        help=f"networks to run, of {', '.join(NETWORKS)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--weights", metavar="DIR",
        help="folder with the published weight files (default: weights in the cache of PrismAudio)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace caches that exist")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps or auto (default: %(default)s)")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio av-benchmark``.

    Returns:
        0, or 2 if some files could not be read.

    Raises:
        PrismAudioError: No network has weights, or a folder cannot be used.
    """
    options = make_parser().parse_args(argv)
    from prismaudio.devices import find_device
    from prismaudio.media import make_writable

    device, folder = find_device(options.device), expanded(options.output)
    sources = {"audio": _files(options.audio)}
    if options.videos is not None:
        sources["frames"] = _files(options.videos, videos=True)
    make_writable(folder)
    missing: list[str] = []
    failed = ran = 0
    for name in options.networks:
        for kind in ("audio", "frames") if name == "imagebind" and options.videos is not None else ("audio",):
            try:
                code = _run(name, kind, sources[kind], folder, options, device)
            except CheckpointError as error:
                missing.append(f"{name}: {error}")
                break
            ran, failed = ran + 1, max(failed, code)
    with Reporter(1) as reporter:
        for line in missing:
            reporter.write(f"left out: {line}")
    if not ran:
        raise PrismAudioError(f"no network can run; {missing[0]}")
    return failed


def _files(folder: str, *, videos: bool = False) -> list[Path]:
    """The media files of a folder.

    Raises:
        MediaError: It is no folder, or has none.
    """
    from prismaudio.evaluation.jobs import media_files
    from prismaudio.media import VIDEO_SUFFIXES

    place = expanded(folder)
    if not place.is_dir():
        raise MediaError(f"{folder} is not a folder; expected one with {'videos' if videos else 'audio or videos'}")
    found = [path for path in media_files(place) if not videos or path.suffix.lower() in VIDEO_SUFFIXES]
    if not found:
        raise MediaError(f"no videos in {folder}; expected files such as {place / 'clip.mp4'}")
    return found


def _run(name: str, kind: str, files: Sequence[Path], folder: Path, options: Any, device: Any) -> int:
    """Write the caches of one network.

    Returns:
        0, or 2 if some files could not be read.

    Raises:
        CheckpointError: Its weights are missing.
        DataError: A cache exists with other clips, or no file can be read.
    """
    from prismaudio_av_benchmark.caches import IB_VIDEO, LOADERS, OF_AUDIO, has_caches, store

    targets = OF_AUDIO[name] if kind == "audio" else (IB_VIDEO,)
    if not options.force and has_caches(folder, targets, [path.stem for path in files]):
        with Reporter(1) as reporter:
            reporter.write(f"{name}: {', '.join(targets)} exist, kept")
        return 0
    network = LOADERS[name](options.weights).to(device).eval()
    compute = _feature_function(name, kind, network, options.audio_length)
    features: dict[str, dict[str, object]] = {target: {} for target in targets}
    with Reporter(len(files), f"clips by {name}") as reporter:
        for path in files:
            try:
                for target, value in compute(path).items():
                    features[target][path.stem] = value
                reporter.count()
            except (MediaError, DataError) as error:
                reporter.fail(path, error)
        if not any(features.values()):
            raise DataError(f"no file could be read: {reporter.failures[0]}")
        store(folder, features)
        reporter.write(f"{name}: {len(files) - len(reporter.failures)} clips in {', '.join(targets)}")
    return reporter.conclude(f"{len(reporter.failures)} of {len(files)} files are not in {', '.join(targets)}")


def _feature_function(
    name: str, kind: str, network: AudioEmbedder, length_s: float
) -> Callable[[Path], dict[str, Any]]:
    from prismaudio_av_benchmark.caches import audio_features, frame_features
    from prismaudio_av_benchmark.imagebind import ImageBind

    def compute(path: Path) -> dict[str, Any]:
        if kind == "frames" and isinstance(network, ImageBind):
            return frame_features(network, path, length_s)
        return dict(audio_features(name, network, path, length_s))

    return compute
