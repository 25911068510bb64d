"""``prismaudio plan``: write the plan of a video to an editable text file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser, add_model, text
from prismaudio.cli.building import add_planners, join_planner_arguments, make_planners
from prismaudio.errors import PlanError
from prismaudio.paths import expanded

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from prismaudio.plan import Plan

ENDING = ".plan.txt"


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio plan``."""
    parser = Parser(
        "prismaudio plan",
        description="Write the plan of a video to a file for prismaudio generate --plan.",
    )
    parser.add_argument("video", metavar="VIDEO", help="the video file")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the plan file, - for standard output (default: VIDEO.plan.txt)"
    )
    parser.add_argument(
        "--prompt", type=text, default="", help="text of the semantic section; the planner writes the others"
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing plan")
    add_planners(parser)
    add_model(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio plan``."""
    options = make_parser().parse_args(join_planner_arguments(argv))
    video = expanded(options.video)
    to_screen = options.output == "-"
    file = expanded(options.output or plan_name(video))
    if not to_screen:
        _check(file, options)
    from prismaudio.media import probe, replacing
    from prismaudio.media.files import spare
    from prismaudio.pretrained import local_files
    from prismaudio.untrusted import check_regular

    check_regular(video, "a video file")
    if not to_screen:
        spare(file, [video, *local_files(options.model)])
    probe(video)  # raises for an invalid video before the model is loaded
    plan = _write(video, options)
    sys.stderr.writelines(f"warning: {options.video}: {warning}\n" for warning in plan.warnings)
    if to_screen:
        sys.stdout.write(f"{plan}\n")
        return 0
    _check(file, options)  # again: the file may have been created meanwhile
    with replacing(file) as part:
        plan.save(part)
    sys.stderr.write(f"{file}: edit it, then run: prismaudio generate {options.video} --plan {file}\n")
    return 0


def _write(video: Path, options: argparse.Namespace) -> Plan:
    """The plan by the planners of the command line and that of the model, if there is one."""
    from prismaudio.inference import PrismAudio
    from prismaudio.inference.planning import write_plan
    from prismaudio.media import read_clip
    from prismaudio.registry import discover

    registry, planners = discover(), make_planners(options.planner, options.device)
    if planners and options.model is None and len(registry.names("models")) != 1:
        return write_plan(planners, read_clip(video), registry.dimensions(), None, options.prompt.strip())
    # beside other planners, the model's own is loaded when a section is missing
    model = PrismAudio.from_pretrained(
        *(options.model, options.device, options.precision, options.revision), low_memory=bool(planners)
    )
    return model.plan(video, options.prompt, planners=planners)


def plan_name(video: Path) -> str:
    """Name of the plan file of a video, shortened to the limit of file systems."""
    from prismaudio.media.files import MAX_NAME_BYTES, short_name

    return short_name(video.stem, MAX_NAME_BYTES - len(ENDING)) + ENDING


def _check(file: Path, options: argparse.Namespace) -> None:
    if file.exists() and not options.force:
        raise PlanError(f"{file} exists and may have been edited; choose another name with -o, or add --force")
