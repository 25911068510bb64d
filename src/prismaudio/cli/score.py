"""``prismaudio score``: score audio with the installed rewards and metrics."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser, add_scorers, plan
from prismaudio.errors import PrismAudioError
from prismaudio.progress import Reporter

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPILOG = """\
The audio of a video is scored with its own frames, an audio file by itself. Rewards and metrics that need a plan or a
reference are skipped without one, and so are those whose weights are not on this machine; the reason is printed.
Scores are written to --json and --csv after each file; with the same files, a second run resumes the first.

examples:
  prismaudio score clip.mp4 --plan clip.plan.txt
  prismaudio score generated/ --plan generated/ --reference originals/ --json scores.jsonl --csv scores.csv
  prismaudio score clip.wav --rewards AestheticReward --metrics none --json -
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio score``."""
    parser = Parser(
        "prismaudio score",
        description="Score audio with the installed rewards and metrics.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio or video files, or folders of them")
    what = parser.add_argument_group("targets")
    what.add_argument(
        "--plan", type=plan, default="", metavar="FILE|DIR|TEXT|auto",
        help="plan of all files, or a folder of plans named after the files; auto: written by the installed model",
    )  # fmt: skip
    what.add_argument(
        "--reference", default="", metavar="FILE|DIR",
        help="audio or video file with the reference audio, or a folder of references named after the files",
    )  # fmt: skip
    add_scorers(parser.add_argument_group("scorers"))
    files = parser.add_argument_group("files")
    files.add_argument(
        "--json", metavar="OUT", help="write JSON lines, one object per file, to OUT; - for standard output"
    )
    files.add_argument("--csv", metavar="OUT", help="write CSV, one row per score, to OUT; - for standard output")
    files.add_argument("--force", action="store_true", help="score files again that OUT already contains")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio score``.

    Returns:
        0, or 2 if some files could not be scored.
    """
    options = make_parser().parse_args(argv)
    if options.json is not None and options.json == options.csv:
        raise PrismAudioError(f"--json {options.json} and --csv {options.csv} are the same file; give two names")
    from prismaudio.evaluation.jobs import collect_score_jobs

    jobs = collect_score_jobs(options.files, options.plan, options.reference)
    with Reporter(len(jobs), "files") as reporter:
        if all(job.error for job in jobs):  # report these before the import of any scorer
            reporter.failures += [job.error for job in jobs]
        else:
            from prismaudio.evaluation.run import ScoreRun

            run = ScoreRun(options, [path for job in jobs for path in job.sources()])
            run.run(jobs, reporter)
            run.show()
    return reporter.conclude(f"{len(reporter.failures)} failures in {len(jobs)} files")
