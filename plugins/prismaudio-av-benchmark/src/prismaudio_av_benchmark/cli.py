"""``prismaudio av-benchmark``: write feature caches of av-benchmark."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser, number
from prismaudio.errors import CheckpointError, MediaError, PrismAudioError
from prismaudio.paths import expanded
from prismaudio.progress import Reporter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
    from prismaudio_av_benchmark.caches import LOADERS, OF_AUDIO, OF_FRAMES, keep_options

    device, folder = find_device(options.device), expanded(options.output)
    audio = _files(options.audio)
    tasks = [(task, audio) for task in OF_AUDIO if task.network in options.networks]
    if options.videos is not None and OF_FRAMES.network in options.networks:
        tasks.append((OF_FRAMES, _files(options.videos, videos=True)))
    make_writable(folder)
    missing: dict[str, str] = {}
    failed = 0
    given = {"audio_length": options.audio_length, "weights": options.weights}
    for task, files in tasks:
        names = ", ".join(task.files)
        if not options.force and task.is_done(folder, [path.stem for path in files], given):
            sys.stderr.write(f"{task.network}: {names}: exists, kept\n")
            continue
        try:
            network = LOADERS[task.network](options.weights).to(device).eval()
        except CheckpointError as error:
            missing[task.network] = str(error)
            continue
        keep_options(folder, task.files, given)
        with Reporter(len(files), f"clips by {task.network}") as reporter:
            task.run(network, files, options.audio_length, folder, reporter)
            reporter.write(f"{task.network}: {names}: {len(files) - len(reporter.failures)} clips")
        failed = max(failed, reporter.conclude(f"{len(reporter.failures)} of {len(files)} files are not in {names}"))
    if len(missing) == len({task.network for task, _ in tasks}):
        raise PrismAudioError(f"no network can run ({', '.join(missing)}): {next(iter(missing.values()))}")
    sys.stderr.writelines(f"{name} is left out: {reason}\n" for name, reason in missing.items())
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
