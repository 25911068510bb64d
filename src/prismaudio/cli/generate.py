"""``prismaudio generate``: audio for silent videos."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser, add_model, number, plan, seed, text, whole
from prismaudio.cli.building import COMPLETES, PLANNER, SAMPLER, add_planners, add_sampler, join_planner_arguments
from prismaudio.cli.jobs import Job, collect_jobs
from prismaudio.errors import MediaError, PrismAudioError
from prismaudio.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTPUT = "prismaudio-output"
_EPILOG = """\
For each video the command writes an mp4 (the original frames with the new audio), a wav and a JSON file with plan,
seed, model, versions and settings. Videos that are already done are skipped, unless --force is given. A manifest is a
.csv, .tsv or .jsonl file with a column video; id, plan, caption, prompt, seed, output and others are optional.

examples:
  prismaudio generate clip.mp4
  prismaudio plan clip.mp4 -o clip.plan.txt     then edit the plan, and
  prismaudio generate clip.mp4 --plan clip.plan.txt --spectrogram
  prismaudio generate --prompt "footsteps on gravel, far away" --duration 6
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio generate``."""
    parser = Parser(
        "prismaudio generate",
        description="Plan and generate audio for videos.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="video files, folders of them, or manifests")
    parser.add_argument("-o", "--output", default=OUTPUT, metavar="DIR", help="output folder (default: %(default)s)")
    what = parser.add_argument_group("content")
    what.add_argument(
        "--plan", type=plan, default="", metavar="FILE|TEXT", help="a plan; the planner writes missing sections"
    )
    what.add_argument(
        "--prompt", type=text, default="", help="text of the semantic section; the planner writes the others"
    )
    what.add_argument("--negative-prompt", type=text, default="", metavar="TEXT", help="sounds and qualities to avoid")
    what.add_argument("--duration", type=number(0.2, 3600), metavar="SECONDS", help="length of audio without a video")
    what.add_argument(
        "--mix", nargs="?", type=number(0, 100), const=1.0, default=0.0, metavar="GAIN",
        help="mix with the video's original audio (gain 1 without a value)",
    )  # fmt: skip
    how = parser.add_argument_group("sampling")
    how.add_argument("--seed", type=seed, default=0, help="the same seed gives the same audio (default: %(default)s)")
    how.add_argument("--steps", type=whole(1, 1000), help="number of sampling steps")
    how.add_argument("--guidance", type=number(0, 100), help="guidance scale; 1 disables guidance")
    how.add_argument(
        "--guidance-rescale",
        type=number(0, 1),
        metavar="SHARE",
        help="rescale guided velocities to the std of conditional ones: 0 not at all, 1 fully",
    )
    how.add_argument(
        "--guidance-interval", nargs=2, type=number(0, 1), metavar=("LOW", "HIGH"),
        help="flow times at which guidance is applied; 1 is noise, 0 is data",
    )  # fmt: skip
    add_sampler(how)
    how.add_argument("--batch-size", type=whole(1, 1024), default=4, help="videos per batch (default: %(default)s)")
    add_planners(parser, f"{COMPLETES}; none leaves plans as they are given")
    add_model(parser)
    resources = parser.add_argument_group("resources")
    resources.add_argument(
        "--low-memory",
        action="store_true",
        help="load each network when it is used and drop it afterwards, for every batch; always so for a single video",
    )
    resources.add_argument(
        "--compile", choices=("auto", "on", "off"), default="auto",
        help="on a GPU: auto uses CUDA graphs, of compiled code for hundreds of videos; on always compiles; off does "
        "neither (default: %(default)s)",
    )  # fmt: skip
    resources.add_argument("--profile", action="store_true", help="print seconds and peak memory of each phase")
    files = parser.add_argument_group("files")
    files.add_argument("--spectrogram", action="store_true", help="write a PNG spectrogram with the plan's events")
    files.add_argument(
        "--manifest", metavar="OUT.jsonl", help="write the results as a manifest, with the columns of the given one"
    )
    files.add_argument("--force", action="store_true", help="generate videos again that are already done")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio generate``.

    Returns:
        0, or 2 if some videos failed.
    """
    options = make_parser().parse_args(join_planner_arguments(argv, (PLANNER, SAMPLER)))
    folder = expanded(options.output)
    if not options.videos and not (options.plan or options.prompt):
        raise PrismAudioError("nothing to generate; give a video, or --prompt or --plan with --duration")
    jobs = collect_jobs(options.videos, folder, Job(None, folder, options.plan, options.prompt, options.seed))
    if options.duration is not None and all(job.video for job in jobs):
        raise MediaError(
            "--duration applies to audio without a video only; the audio of a video is as long as the video"
        )
    if options.duration is None and not all(job.video for job in jobs):
        raise MediaError("the length of audio without a video is not given; add --duration SECONDS")
    from prismaudio.cli.batch import Batch  # imports torch

    if not options.profile:
        return Batch(options, folder).run(jobs)
    from prismaudio.profiling import Profile

    with Profile() as profile:
        code = Batch(options, folder).run(jobs)
    sys.stderr.write(f"{profile.table()}\n")
    return code
