"""``prismaudio suite build`` and ``prismaudio suite missing``: benchmarks of clips that anybody can fetch."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from typing import TYPE_CHECKING, Any

from prismaudio import __version__
from prismaudio.cli.arguments import Parser, seed, whole
from prismaudio.cli.building import create, parse_class
from prismaudio.errors import PrismAudioError, UnknownNameError
from prismaudio.paths import expanded
from prismaudio.registry import discover

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from prismaudio.evaluation.ontology import Ontology
    from prismaudio.evaluation.selection import Condition
    from prismaudio.evaluation.suite_build import BuildOptions, Scores
    from prismaudio.evaluation.suite_clips import SuiteClip
    from prismaudio.scorers import Score, Scorer

MAX_CLIPS = 2**31 - 1
SCORER_KINDS = ("rewards", "metrics")
_EPILOG = """\
The manifest has a file, one label or several (with ; between them) and a link for each clip, and may have captions,
plans, link_start_s, link_end_s and licence. A clip with labels of several classes has several events.

DIR/published is what others get: manifest.jsonl with ids such as Dog_1 and links, without media and paths, and
README.md. The rest is yours: clips.jsonl with your media, ids.csv, left_out.jsonl with the reason of each clip,
report.md, classes.png, and screening.html, a page to keep and drop clips by hand. The same command with --decisions
takes what the page saved; the same input gives the same bytes.

examples:
  prismaudio suite build clips.csv -o suite --ontology ontology.json --per-class 9 --multi 500
  prismaudio suite build clips.csv -o suite --scores evaluation --solved 'ClapScore>=0.5' --solved 'DeSync<0.2'
  prismaudio suite build clips.csv -o suite --heard 'SpeechFreeReward<0.5'
  prismaudio suite build clips.csv -o suite --decisions decisions.json
  prismaudio cot build suite/clips.jsonl -o cot --planner ApiPlanner --planner.model NAME
  prismaudio suite build clips.csv -o suite --decisions decisions.json --plans cot
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio suite build``."""
    parser = Parser(
        "prismaudio suite build",
        description="Build a benchmark from clips: balanced over classes, without speech and singing, without clips "
        "that systems solve already, screened by hand, with ids and links in place of media.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("manifest", metavar="MANIFEST", help=".csv, .tsv or .jsonl with files, labels and links")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder of the suite")
    classes = parser.add_argument_group("classes")
    classes.add_argument(
        "--ontology",
        metavar="FILE",
        help="ontology.json of AudioSet; labels are its names or ids (default: the labels)",
    )
    classes.add_argument(
        "--per-class", type=whole(1, MAX_CLIPS), default=10, metavar="N",
        help="most single-event clips of a class, and most multi-event clips with it (default: %(default)s)",
    )  # fmt: skip
    classes.add_argument(
        "--min-per-class", type=whole(1, MAX_CLIPS), default=1, metavar="N",
        help="leave out single-event clips of classes with fewer (default: %(default)s)",
    )  # fmt: skip
    classes.add_argument("--multi", type=whole(0, MAX_CLIPS), metavar="N", help="most multi-event clips")
    classes.add_argument(
        "--exclude", action="append", metavar="CLASS",
        help="leave out clips of this class and what is narrower: an id, a name or a pattern such as '*singing*'; may "
        "be given several times; none for none (default: the human voice and vocal music)",
    )  # fmt: skip
    classes.add_argument("--seed", type=seed, default=0, help="seed of the choice (default: %(default)s)")
    filters = parser.add_argument_group("filters")
    filters.add_argument(
        "--scores", action="append", default=[], metavar="DIR|FILE",
        help="scores of systems: a folder of prismaudio evaluate, or a file of prismaudio score --json; may be given "
        "several times",
    )  # fmt: skip
    filters.add_argument(
        "--solved", action="append", default=[], metavar="CONDITION",
        help="leave out clips whose scores fulfil this: a score, >=, <=, > or <, a number; of several conditions all "
        "must hold",
    )  # fmt: skip
    filters.add_argument(
        "--solved-by", choices=("all", "any"), default="all",
        help="whether all systems must fulfil the conditions for a clip, or any (default: %(default)s)",
    )  # fmt: skip
    filters.add_argument(
        "--heard", action="append", default=[], metavar="CONDITION",
        help="leave out clips whose own sound fulfils this: a reward or metric by its class, or as in a recipe "
        "'{class_path: NAME, init_args: {...}}', and a condition as for --solved; of several, one is enough",
    )  # fmt: skip
    filters.add_argument(
        "--device", default="auto", help="device of --heard: cpu, cuda, mps or auto (default: %(default)s)"
    )
    people = parser.add_argument_group("screening and plans")
    people.add_argument(
        "--decisions", action="append", default=[], metavar="FILE",
        help="what screening.html saved; may be given several times, and the last decision about a clip counts",
    )  # fmt: skip
    people.add_argument("--only-kept", action="store_true", help="only clips that somebody has decided to keep")
    people.add_argument(
        "--plans",
        metavar="DIR",
        help="folder that prismaudio cot build made of DIR/clips.jsonl: the plans of the suite",
    )
    columns = parser.add_argument_group("the manifest, and what is published")
    columns.add_argument(
        "--label-column", default="label", metavar="NAME", help="column of labels (default: %(default)s)"
    )
    columns.add_argument("--link-column", default="link", metavar="NAME", help="column of links (default: %(default)s)")
    columns.add_argument("--name", default="A suite of clips", help="name of the suite (default: %(default)s)")
    columns.add_argument("--licence", default="", help="licence of the manifest, its captions and plans")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio suite build``.

    Returns:
        0.
    """
    options = make_parser().parse_args(argv)
    if bool(options.scores) != bool(options.solved):
        there, lacking = ("--scores", "--solved") if options.scores else ("--solved", "--scores")
        raise PrismAudioError(f"{there} without {lacking} leaves out nothing; give both")
    from prismaudio.evaluation.screening import read_decisions
    from prismaudio.evaluation.selection import Condition
    from prismaudio.evaluation.suite_build import VOICE, VOICE_LABELS, BuildOptions, build_suite
    from prismaudio.evaluation.suite_clips import read_clips, read_plans, read_scores
    from prismaudio.evaluation.suite_folder import SuiteFolder

    solved = [Condition.parse(text) for text in options.solved]
    conditions, scorers, arguments = _scorers(options.heard, options.device)
    exclude = VOICE if options.ontology else VOICE_LABELS
    if options.exclude is not None:
        exclude = tuple(name for name in options.exclude if name != "none")
    how = BuildOptions(
        options.per_class, options.min_per_class, options.multi, options.seed, exclude, tuple(solved),
        options.solved_by, tuple(conditions), arguments, options.only_kept,
    )  # fmt: skip
    manifest, folder = expanded(options.manifest), SuiteFolder(expanded(options.output))
    folder.check([manifest])
    sections = discover().sections()
    ontology, classes_of = _ontology(options.ontology)
    clips, ontology = read_clips(manifest, sections, ontology, options.label_column, options.link_column)
    systems = read_scores(map(expanded, options.scores), [clip.id for clip in clips])
    decisions, notes = read_decisions(map(expanded, options.decisions), clips)
    plans = {} if options.plans is None else read_plans(expanded(options.plans), sections, clips)
    heard: dict[str, Mapping[str, Score]] = {}

    def hear(left: Sequence[SuiteClip]) -> Mapping[str, Mapping[str, Score]]:
        heard.update(_hear(left, scorers, folder.heard))
        return heard

    suite = build_suite(clips, ontology, how, systems, hear, decisions)
    suite.notes += notes
    name, licence = (" ".join(given.split()) for given in (options.name, options.licence))
    about = {"name": name, "licence": licence, "classes_of": classes_of}
    described = folder.write(suite, how.describe(), about, plans, _shown(how, systems, heard), decisions)
    _say(options, described)
    return 0


def _ontology(file: str | None) -> tuple[Ontology | None, str]:
    """The ontology, and what the README says of it."""
    import hashlib

    from prismaudio.evaluation.ontology import Ontology
    from prismaudio.untrusted import read_small

    if file is None:
        return None, "the labels of the clips"
    path = expanded(file)
    ontology = Ontology.read(path)
    digest = hashlib.sha256(read_small(path, 1 << 30)).hexdigest()[:16]
    return ontology, f"the ontology {path.name}, {len(ontology.names)} entries, SHA-256 {digest}"


def _scorers(
    texts: Sequence[str], device: str
) -> tuple[list[Condition], list[Scorer], dict[str, dict[str, Any]]]:  # fmt: skip
    """The conditions of ``--heard``, the rewards and metrics that they are about, and the arguments of these.

    Raises:
        PrismAudioError: There is no such class, or it cannot be made.
    """
    from prismaudio.evaluation.selection import Condition

    conditions: list[Condition] = []
    scorers: dict[str, Scorer] = {}
    given_arguments: dict[str, dict[str, Any]] = {}
    registry = discover()
    for text in texts:
        given = Condition.parse(text)
        name, arguments = parse_class(given.name, "--heard")
        kind = next((kind for kind in SCORER_KINDS if name in registry.names(kind)), None)
        if kind is None:
            known = [one for kind in SCORER_KINDS for one in registry.names(kind)]
            raise UnknownNameError(
                f"--heard {text}: no reward or metric is named {name!r}; {registry.advice(name, known)}"
            )
        if name in scorers and arguments:
            raise PrismAudioError(f"--heard names {name} twice, with other arguments; expected it once")
        if name not in scorers:
            scorers[name] = _scorer(kind, name, arguments, device)
            given_arguments |= {name: arguments} if arguments else {}
        conditions.append(Condition(name, given.comparison, given.limit))
    return conditions, list(scorers.values()), given_arguments


def _scorer(kind: str, name: str, arguments: dict[str, Any], device: str) -> Scorer:
    from prismaudio.devices import find_device
    from prismaudio.scorers import MetricScorer, RewardScorer

    given = json.dumps(arguments, sort_keys=True, default=str)  # scores of other arguments are other scores
    made, target = create(kind, name, arguments, "--heard"), find_device(device)
    if kind == "rewards":
        return RewardScorer(made, name, source=f"{__version__} {given}", device=target)
    return MetricScorer(made, name, source=f"{__version__} {given}", device=target)


def _hear(clips: Sequence[SuiteClip], scorers: Sequence[Scorer], path: Path) -> dict[str, Mapping[str, Score]]:
    """Score the sound of clips; scores that are in the file already are kept."""
    from prismaudio.evaluation.jobs import ScoreJob
    from prismaudio.evaluation.run import ScoreRun
    from prismaudio.progress import Reporter
    from prismaudio.scorers import Score

    jobs = [ScoreJob(clip.sound, video=clip.entry.video, columns={"id": clip.id}) for clip in clips]
    path.parent.mkdir(parents=True, exist_ok=True)
    given = argparse.Namespace(force=False, json=str(path), csv=None)
    with Reporter(len(jobs), "clips") as reporter:
        run = ScoreRun(given, [file for job in jobs for file in job.sources()], scorers)
        run.run(jobs, reporter)
    found: dict[str, Mapping[str, Score]] = {record.file: record.scores for record in run.records}
    failed = Score(reason="its sound cannot be read")
    return {clip.id: found.get(str(clip.sound), {scorer.name: failed for scorer in scorers}) for clip in clips}


def _shown(how: BuildOptions, systems: Scores, heard: Mapping[str, Mapping[str, Score]]) -> dict[str, dict[str, float]]:
    """The scores that the page shows: those of conditions, by clip."""
    found: dict[str, dict[str, float]] = {}
    wanted = {condition.name for condition in how.solved}
    for system, clips in systems.items():
        for clip, values in clips.items():
            shown = {f"{name} of {system}": value for name, value in values.items() if name in wanted}
            found.setdefault(clip, {}).update(shown)
    for clip, scores in heard.items():
        own = {f"{name} of its sound": score.value for name, score in scores.items() if score.value is not None}
        found.setdefault(clip, {}).update(own)
    return found


def _say(options: argparse.Namespace, described: Mapping[str, Any]) -> None:
    """Print the steps and what to do next."""
    from rich.table import Table
    from rich.text import Text

    from prismaudio.progress import wide_console

    console = wide_console(120)
    table = Table("step", show_edge=False)
    for title in ("clips before", "left out"):
        table.add_column(title, justify="right")
    for step in described["steps"]:
        table.add_row(Text(step["step"]), str(step["before"]), str(step["left_out"]))
    console.print(table)
    classes = sum(bool(n["single"] + n["multi"]) for n in described["classes"].values())
    counts = f"{described['single']} single-event, {described['multi']} multi-event, {described['plans']} with a plan"
    lines = [f"{described['clips']} clips of {classes} classes, {counts}: {options.output}/published"]
    if few := len(described["few"]):
        lines.append(
            f"{few} classes have fewer than {options.per_class} single-event clips, see {options.output}/report.md"
        )
    lines += [f"note: {note}" for note in described["notes"]]
    lines.append(f"screen them in a browser: {options.output}/screening.html")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


# Missing media -------------------------------------------------------------------------------------------------------
def make_missing_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio suite missing``."""
    parser = Parser(
        "prismaudio suite missing",
        description="List the clips of a published suite whose media are not there, with their links, as "
        "tab-separated lines: file, link, start and end in seconds.",
    )
    parser.add_argument("manifest", metavar="MANIFEST", help="manifest.jsonl of a published suite")
    parser.add_argument("--media", metavar="DIR", help="folder of the media (default: that of the manifest)")
    return parser


def missing(argv: Sequence[str]) -> int:
    """Run ``prismaudio suite missing``.

    Returns:
        0.
    """
    options = make_missing_parser().parse_args(argv)
    from prismaudio.evaluation.suites import read_with_media

    manifest = expanded(options.manifest)
    folder = manifest.parent if options.media is None else expanded(options.media)
    sections = discover().sections()
    entries, lacking = read_with_media(manifest, sections, folder)
    writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    for entry, name in lacking.values():
        columns = [entry.columns.get(column) for column in ("link", "link_start_s", "link_end_s")]
        writer.writerow([name, *("" if value is None else value for value in columns)])
    sys.stderr.write(f"{len(lacking)} of {len(entries) + len(lacking)} clips are not in {folder}\n")
    return 0
