"""``prismaudio generate``: the sound of silent videos."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser, add_model, number, plan, seed, text, whole
from prismaudio.cli.jobs import Job, collect_jobs
from prismaudio.errors import MediaError, PrismAudioError
from prismaudio.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTPUT = "prismaudio-output"
_EPILOG = """\
For each video there is an mp4 (its picture as it was, with the new sound), a wav and a JSON with plan, seed, model,
versions and settings. What is done already is skipped; --force makes it again. A table is a .csv file with the columns
video, plan, prompt, seed and output, of which all but the first may be missing.

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
        description="Plan and render the sound of videos.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="video files, folders of them, or .csv tables")
    parser.add_argument("-o", "--output", default=OUTPUT, metavar="DIR", help="where results go (default: %(default)s)")
    what = parser.add_argument_group("what is to be heard")
    what.add_argument(
        "--plan", type=plan, default="", metavar="FILE|TEXT", help="a plan; sections that it lacks are planned"
    )
    what.add_argument("--prompt", type=text, default="", help="in your words; the planner writes the other sections")
    what.add_argument("--negative-prompt", type=text, default="", metavar="TEXT", help="what is not to be heard")
    what.add_argument("--duration", type=number(0.2, 3600), metavar="SECONDS", help="length of sound without a video")
    what.add_argument(
        "--mix", nargs="?", type=number(0, 100), const=1.0, default=0.0, metavar="GAIN",
        help="add the video's own sound (gain 1 if none is given)",
    )  # fmt: skip
    how = parser.add_argument_group("sampling")
    how.add_argument("--seed", type=seed, default=0, help="same seed, same sound (default: %(default)s)")
    how.add_argument("--steps", type=whole(1, 1000), help="steps of the sampler")
    how.add_argument("--guidance", type=number(0, 100), help="how closely the plan is followed; 1 is as it is")
    how.add_argument("--guidance-rescale", type=number(0, 1), metavar="SHARE", help="guidance without its loudness")
    how.add_argument(
        "--guidance-interval", nargs=2, type=number(0, 1), metavar=("LOW", "HIGH"),
        help="flow times with guidance; 1 is noise, 0 is sound",
    )  # fmt: skip
    how.add_argument("--sampler", metavar="NAME", help="see prismaudio plugins list")
    how.add_argument("--batch-size", type=whole(1, 1024), default=4, help="videos at a time (default: %(default)s)")
    add_model(parser)
    files = parser.add_argument_group("files")
    files.add_argument("--spectrogram", action="store_true", help="write a PNG of it, with the plan's events")
    files.add_argument("--force", action="store_true", help="make again what is done already")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio generate``.

    Returns:
        0, or 2 when some videos failed.
    """
    options = make_parser().parse_args(argv)
    folder = expanded(options.output)
    if not options.videos and not (options.plan or options.prompt):
        raise PrismAudioError("nothing to do: name a video, or give --prompt or --plan with --duration")
    jobs = collect_jobs(options.videos, folder, Job(None, folder, options.plan, options.prompt, options.seed))
    if options.duration is not None and all(job.video for job in jobs):
        raise MediaError("--duration is for sound without video; a video's sound is as long as the video")
    if options.duration is None and not all(job.video for job in jobs):
        raise MediaError("without a video the length of the sound must be given; say --duration SECONDS")
    from prismaudio.cli.batch import Batch  # imports torch

    return Batch(options, folder).run(jobs)
