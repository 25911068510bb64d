"""``prismaudio plan``: what the planner sees, as a text that can be edited."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser, add_model, model_files, text
from prismaudio.errors import PlanError
from prismaudio.paths import expanded

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

ENDING = ".plan.txt"


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio plan``."""
    parser = Parser(
        "prismaudio plan",
        description="Watch a video and write its plan to a file, which prismaudio generate --plan reads back.",
    )
    parser.add_argument("video", metavar="VIDEO", help="the video file")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the plan's file, - to print it (default: VIDEO.plan.txt)"
    )
    parser.add_argument("--prompt", type=text, default="", help="what is to be heard; the other sections are about it")
    parser.add_argument("--force", action="store_true", help="write over a plan that is there already")
    add_model(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio plan``."""
    options = make_parser().parse_args(argv)
    video = expanded(options.video)
    to_screen = options.output == "-"
    file = expanded(options.output or plan_name(video))
    if not to_screen:
        _check(file, options)
    from prismaudio.inference import PrismAudio
    from prismaudio.media import probe, replacing
    from prismaudio.media.files import spare
    from prismaudio.untrusted import check_regular

    check_regular(video, "a video file")
    if not to_screen:
        spare(file, [video, *model_files(options.model)])
    probe(video)  # says what is wrong with it before the model is loaded
    model = PrismAudio.from_pretrained(options.model, options.device, options.precision)
    plan = model.plan(video, options.prompt)
    sys.stderr.writelines(f"notice: {options.video}: {notice}\n" for notice in plan.warnings)
    if to_screen:
        sys.stdout.write(f"{plan}\n")
        return 0
    _check(file, options)  # again, for watching takes long
    with replacing(file) as part:
        plan.save(part)
    sys.stderr.write(f"{file}: edit it, then run: prismaudio generate {options.video} --plan {file}\n")
    return 0


def plan_name(video: Path) -> str:
    """What the plan of a video is called, in a length that file systems allow."""
    from prismaudio.media.files import MAX_NAME_BYTES, short_name

    return short_name(video.stem, MAX_NAME_BYTES - len(ENDING)) + ENDING


def _check(file: Path, options: argparse.Namespace) -> None:
    if file.exists() and not options.force:
        raise PlanError(f"{file} exists and may have been edited; choose another name with -o, or say --force")
