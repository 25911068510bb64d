"""``prismaudio studio``: clips of the procedural world, with their truth."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import brief, seed, whole
from prismaudio.errors import MediaError, UnknownNameError

if TYPE_CHECKING:
    from prismaudio_studio.world import Scene

SIZE_PX, FPS = (256, 256), 24.0
LARGEST_PX, HIGHEST_FPS = 2048, 240.0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{brief(text)} is no size; expected pixels as 256, or HEIGHTxWIDTH as 180x320"
        )
    size = int(match[1]), int(match[2] or match[1])
    if not all(16 <= side <= LARGEST_PX for side in size):
        raise argparse.ArgumentTypeError(f"{brief(text)} is out of range; expected 16 to {LARGEST_PX} pixels a side")
    return size


def _fps(text: str) -> float:
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not 1.0 <= fps <= HIGHEST_FPS:
        raise argparse.ArgumentTypeError(
            f"{brief(text)} is no frame rate; expected 1 to {HIGHEST_FPS:g} frames per second"
        )
    return fps


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UnknownNameError(f"{message}; see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    top = _OneLineParser(prog="prismaudio studio", description="Clips of the procedural world, with their truth.")
    render = top.add_subparsers(dest="action", required=True, metavar="render").add_parser(
        "render",
        help="write clips as mp4, silent mp4, wav and truth JSON",
        description="Write, for each clip, an mp4 with sound, the same mp4 silent (.silent.mp4), a wav and a truth "
        "JSON (events with time_s, class, azimuth_deg, level_db; quality; room; plan sections). Clips that are there "
        "already are skipped. By default the clips are HELD OUT: their combinations of classes, rooms and qualities "
        "occur in no training clip.",
    )
    render.add_argument("--seed", type=seed, default=0, help="seed of the clips (default: 0)")
    render.add_argument("--count", type=whole(0, 2**31 - 1), default=10, help="number of clips (default: 10)")
    render.add_argument("--start", type=whole(0, 2**31 - 1), default=0, help="number of the first clip (default: 0)")
    render.add_argument("--split", choices=("plain", "randomised"), default="plain", help="how varied the frame is")
    render.add_argument(
        "--held-out",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="clips that are never trained on, or with --no-held-out clips such as those that are (default: held out)",
    )
    render.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    render.add_argument(
        "--size", type=_size, metavar="PX|HxW", help="picture size (default: 256 for plain, varied for randomised)"
    )
    render.add_argument("--fps", type=_fps, help="frames per second (default: 24 for plain, varied for randomised)")
    render.add_argument("--force", action="store_true", help="write over files that are there and are no such clips")
    return top


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"cannot make the folder {path}: {error.strerror}; choose another with -o") from error
    if not os.access(path, os.W_OK):
        raise MediaError(f"cannot write into the folder {path}; choose another with -o")
    return path


def _report(number: int, count: int, scene: Scene, *, written: bool) -> None:
    line = f"{number}/{count} {scene.id} {'written' if written else 'already there'}"
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{line}" + ("\n" if number == count else ""))
    else:
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main(argv: list[str]) -> int:
    """Run ``prismaudio studio``.

    Args:
        argv: Arguments after ``studio``.

    Returns:
        Exit code.
    """
    args = parser().parse_args(argv)
    folder = _folder(args.out)

    from prismaudio_studio.world import sample_scene
    from prismaudio_studio.world.files import write_scene

    for number in range(args.count):
        scene = sample_scene(args.start + number, args.seed, args.split, held_out=args.held_out)
        randomised = args.split == "randomised"
        size_px = args.size or (scene.look.size_px if randomised else SIZE_PX)
        fps = args.fps or (scene.look.fps if randomised else FPS)
        _report(number + 1, args.count, scene, written=write_scene(scene, folder, size_px, fps, force=args.force))
    return 0
