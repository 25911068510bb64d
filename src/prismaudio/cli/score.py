"""``prismaudio score``: what the installed rewards and metrics say of sound."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser, plan
from prismaudio.errors import PrismAudioError
from prismaudio.progress import Reporter

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPILOG = """\
A video's sound is scored against its own frames, a file of sound by itself. A reward or a metric that needs a plan
or a reference is left out without one, and so is one whose weights are not on this machine; the reason is said.
Files of scores are written as they come; with the same ones, a second run goes on where the first stopped.

examples:
  prismaudio score clip.mp4 --plan clip.plan.txt
  prismaudio score generated/ --plan generated/ --reference originals/ --json scores.jsonl --csv scores.csv
  prismaudio score clip.wav --rewards AestheticReward --metrics none --json -
"""


def _names(text: str) -> list[str]:
    return [] if text == "none" else [name for name in text.split(",") if name]


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio score``."""
    parser = Parser(
        "prismaudio score",
        description="Score sound by every reward and metric that is installed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="files of sound or video, or folders of them")
    what = parser.add_argument_group("what they are compared with")
    what.add_argument(
        "--plan", type=plan, default="", metavar="FILE|DIR|TEXT|auto",
        help="the plan of all files, or a folder of plans by their names; auto lets the installed model write them",
    )  # fmt: skip
    what.add_argument(
        "--reference", default="", metavar="FILE|DIR",
        help="the true sound, in a file of sound or video, or a folder of such files by their names",
    )  # fmt: skip
    scorers = parser.add_argument_group("scorers")
    scorers.add_argument("--rewards", type=_names, metavar="NAMES", help="separated by commas, or none (default: all)")
    scorers.add_argument("--metrics", type=_names, metavar="NAMES", help="separated by commas, or none (default: all)")
    scorers.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default: %(default)s)")
    files = parser.add_argument_group("files")
    files.add_argument("--json", metavar="OUT", help="write an object a line to this file, - for standard output")
    files.add_argument("--csv", metavar="OUT", help="write a row for each score to this file, - for standard output")
    files.add_argument("--force", action="store_true", help="score again what is in these files already")
    files.add_argument("--no-cache", action="store_true", help="do not keep what rewards prepare of frames and plans")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio score``.

    Returns:
        0, or 2 when some files could not be scored.
    """
    options = make_parser().parse_args(argv)
    if options.json is not None and options.json == options.csv:
        raise PrismAudioError(f"--json {options.json} and --csv {options.csv} would mix; name two files")
    from prismaudio.evaluation.jobs import collect

    jobs = collect(options.files, options.plan, options.reference)
    with Reporter(len(jobs), "files") as reporter:
        if all(job.error for job in jobs):  # said before anything that scores is imported
            reporter.failures += [job.error for job in jobs]
        else:
            from prismaudio.evaluation.run import ScoreRun

            run = ScoreRun(options, [path for job in jobs for path in job.sources()])
            run.run(jobs, reporter)
            run.show()
    return reporter.conclude(f"{len(reporter.failures)} failures in {len(jobs)} files")
