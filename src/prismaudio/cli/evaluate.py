"""``prismaudio evaluate``: compare systems on a suite of clips."""

from __future__ import annotations

import argparse
import re
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from prismaudio.cli.arguments import Parser, add_scorers, number, seed, whole
from prismaudio.cli.building import (
    PLANNER,
    SAMPLER,
    add_planners,
    add_sampler,
    create,
    join_planner_arguments,
    parse_described,
)
from prismaudio.errors import DataError, PrismAudioError, UnknownNameError
from prismaudio.media.files import check_writable, replacing
from prismaudio.paths import expanded
from prismaudio.registry import discover
from prismaudio.untrusted import escaped, json_text, load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from prismaudio.data.manifest import ManifestEntry
    from prismaudio.evaluation.comparison import Comparison, EvaluationFolder, System
    from prismaudio.evaluation.grid import Grid
    from prismaudio.evaluation.paper_table import PaperColumn
    from prismaudio.evaluation.run import ScoreRun
    from prismaudio.evaluation.suites import Suite

SUITE = "--suite"
SUFFIX = "Suite"
NAME = re.compile(r"\w[\w.+-]*")
MAX_TABLES = 12
"""Maximum number of groups of clips whose tables are printed."""
GIVEN = ("nothing", "caption", "plan")
TABLES = ("scores", "paper", "both")
MAX_WITH_INTERVALS = 6
"""Columns of a table whose cells have room for intervals."""
COMMANDS = {
    "caches": "prismaudio.cli.evaluate_caches",
    "report": "prismaudio.cli.evaluate_report",
    "strategies": "prismaudio.cli.evaluate_strategies",
    "video-encoders": "prismaudio.cli.evaluate_video_encoders",
    "text-encoders": "prismaudio.cli.evaluate_text_encoders",
}
"""Modules of the subcommands."""
_EPILOG = """\
A system is a model, which generates the audio, or a folder with a file of audio for each clip, named after its id.
Three steps are in folders of their own and go on where they stopped: systems/NAME/audio, systems/NAME/scores.jsonl,
and the results (report.html, results.json, .md, .png, .tex and .csv, clips.csv), which are written anew by every run.

Other comparisons, each with its own --help:
  prismaudio evaluate strategies      forms of the chain of thought: none, random, monolithic, decomposed
  prismaudio evaluate video-encoders  retrieval of captions by embeddings of clips
  prismaudio evaluate text-encoders   what linear probes read from encoded plans: order, causes, chains of events
  prismaudio evaluate report          the report of a folder, written anew without scoring
  prismaudio evaluate caches          the numbers of av-benchmark from its feature caches

examples:
  prismaudio evaluate --suite clips.csv --model mine=runs/model --audio theirs=/data/theirs -o evaluation
  prismaudio evaluate --suite studio --suite.count 50 --model small=studio -o evaluation
  prismaudio evaluate --suite vggsound --suite.videos vgg/ --suite.list vggsound.csv --model mine -o evaluation
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio evaluate``."""
    parser = Parser(
        "prismaudio evaluate",
        description="Compare systems on a suite of clips, with intervals.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_suite(parser)
    systems = parser.add_argument_group("systems, each as NAME=WHAT or WHAT alone")
    systems.add_argument(
        "--model", action="append", default=[], metavar="[NAME=]MODEL", help="a model that generates; repeatable"
    )
    systems.add_argument(
        "--audio", action="append", default=[], metavar="[NAME=]DIR", help="a folder of audio files; repeatable"
    )
    systems.add_argument("--baseline", metavar="NAME", help="system that the others are compared with (default: first)")
    systems.add_argument(
        "--given", choices=GIVEN, default="nothing",
        help="what models are given beside the video (default: %(default)s)",
    )  # fmt: skip
    add_running(parser)
    return parser


def add_suite(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the suite and the folder of the evaluation."""
    parser.add_argument(
        SUITE, required=True, metavar="NAME|MANIFEST|DIR", help="a suite, a manifest, or a folder of videos"
    )
    parser.add_argument(
        f"{SUITE}.NAME", metavar="VALUE", dest=argparse.SUPPRESS, default=argparse.SUPPRESS,
        help=f"an argument of the suite, such as {SUITE}.split test",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder of the evaluation")
    parser.add_argument("--limit", type=whole(1, 2**31 - 1), metavar="N", help="only the first N clips")


def add_running(parser: argparse.ArgumentParser) -> None:
    """Add the options of generation and scores."""
    how = parser.add_argument_group("generation")
    how.add_argument("--seed", type=seed, default=0, help="seed of the noise (default: %(default)s)")
    how.add_argument(
        "--seeds", type=whole(1, 100), default=1, metavar="N",
        help="generate with N seeds, SEED and those that follow; a clip counts with the mean of its seeds",
    )  # fmt: skip
    how.add_argument("--steps", type=whole(1, 1000), help="number of sampling steps")
    how.add_argument("--guidance", type=number(0, 100), help="guidance scale")
    how.add_argument("--batch-size", type=whole(1, 1024), default=4, help="videos per batch (default: %(default)s)")
    how.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="dtype of the transformer")
    add_sampler(how)
    add_planners(how)
    scoring = parser.add_argument_group("scores")
    add_scorers(scoring)
    scoring.add_argument("--force", action="store_true", help="score files again that are scored")
    scoring.add_argument(
        "--table", choices=TABLES, default=TABLES[0],
        help="what is printed: all scores with intervals, the columns of the paper, or both (default: %(default)s)",
    )  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio evaluate``.

    Returns:
        0, or 2 if some clips could not be generated or scored.
    """
    if argv and argv[0] in COMMANDS:
        return int(import_module(COMMANDS[argv[0]]).main(argv[1:]))
    if argv and not argv[0].startswith("-"):
        advice = discover().advice(argv[0], [*COMMANDS])
        raise UnknownNameError(f"prismaudio evaluate has no command {argv[0]!r}; {advice}")
    options = make_parser().parse_args(join_planner_arguments(argv, (PLANNER, SAMPLER, SUITE)))
    models = dict(made := [named(text, "--model") for text in options.model])
    folders = dict(given := [named(text, "--audio") for text in options.audio])
    names = [name for name, _ in (*made, *given)]
    baseline = _check_names(names, options.baseline)
    output = expanded(options.output)
    check_writable(output)
    suite = find_suite(options.suite)
    _check_inputs(folders, output, options)
    from prismaudio.evaluation.comparison import EvaluationFolder, System, audio_files

    folder = EvaluationFolder(output)
    folder.check()
    entries = suite.clips(folder.media, discover().sections())[: options.limit]
    folder.keep_clips(suite, entries)
    others = [System(name, audio_files(expanded(what), entries)) for name, what in folders.items()]
    seeds = range(options.seed, options.seed + options.seeds)
    generated = [
        generate(name, model, entries, folder, options, seed) for name, model in models.items() for seed in seeds
    ]
    code = max((failed for failed, _ in generated), default=0)
    systems = [*(system for _, system in generated), *others]
    return code | score(systems, entries, folder, suite, baseline, options)


def named(text: str, option: str) -> tuple[str, str]:
    """Name and value of a system; without a name it is that of the file."""
    name, equals, what = text.partition("=")
    if not equals:
        name, what = expanded(text).resolve().name, text
    if not NAME.fullmatch(name) or not what:
        raise PrismAudioError(
            f"{option} {text}: the name {name!r} is not of letters, digits and ._+-; write NAME={what or 'DIR'}"
        )
    return name, what


def _check_names(names: Sequence[str], baseline: str | None) -> str:
    """The baseline, after a check of the names of the systems."""
    if not names:
        raise PrismAudioError("there is no system to evaluate; give --model MODEL or --audio DIR")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise PrismAudioError(f"two systems are named {twice!r}; give them names, as in --audio mine=DIR")
    if baseline is not None and baseline not in names:
        raise PrismAudioError(f"--baseline {baseline} is no system; expected one of {', '.join(names)}")
    return baseline or names[0]


def _check_inputs(folders: Mapping[str, str], output: Path, options: argparse.Namespace) -> None:
    """Check the names of scorers and the folders of audio before anything is generated."""
    for kind in ("rewards", "metrics"):
        for scorer in getattr(options, kind) or ():
            discover().find(kind, scorer)
    for what in folders.values():
        given = expanded(what)
        if not given.is_dir() and not given.absolute().is_relative_to(output.absolute()):  # a suite may make media
            raise DataError(f"there is no folder {what}; expected one with a file of audio for each clip: ID.wav")


def find_suite(text: str) -> Suite:
    """The suite that ``--suite`` names: a manifest, a folder of videos, or a class by its name or its short name.

    Raises:
        PrismAudioError: There is none, or it does not take an argument.
    """
    from prismaudio.evaluation.suites import ManifestSuite, is_own

    given, arguments = parse_described(text, SUITE)
    if is_own(given):
        return create("suites", ManifestSuite.__name__, {"manifest": given, **arguments}, SUITE)
    registry = discover()
    known = {found.removesuffix(SUFFIX).lower(): found for found in registry.names("suites")}
    if given not in known.values() and given.lower() not in known:
        raise UnknownNameError(f"no suite is named {given!r}; {registry.advice(given, known)}")
    return create("suites", known.get(given.lower(), given), arguments, SUITE)


def generate(
    name: str, model: str, entries: Sequence[ManifestEntry], folder: EvaluationFolder, options: argparse.Namespace,
    seed: int,
) -> tuple[int, System]:  # fmt: skip
    """Generate the audio of a model for all clips with one seed; what is there is kept.

    Returns:
        The exit code of ``prismaudio generate``, and the system.
    """
    from prismaudio.cli.generate import main as run
    from prismaudio.data.manifest import read_manifest
    from prismaudio.evaluation.comparison import System

    further = None if seed == options.seed else seed
    audio = folder.of_system(name, further) / "audio"
    audio.parent.mkdir(parents=True, exist_ok=True)
    clips, made, took = (audio.with_name(file) for file in ("generate.jsonl", "generated.jsonl", "generation.json"))
    with replacing(clips) as part:
        part.write_bytes(b"".join(json_text(_row(entry, options.given)) for entry in entries))
    words = [str(clips), "-o", str(audio), "--manifest", str(made), "--model", model, "--seed", str(seed)]
    words += ["--batch-size", str(options.batch_size), "--precision", options.precision, "--device", options.device]
    for option in ("steps", "guidance", "sampler"):
        if (value := getattr(options, option)) is not None:
            words += [f"--{option}={value}"]
    words += [f"--planner={value}" for value in options.planner]
    begin_s, began_s = time.time(), time.monotonic()
    code = run(words)
    n_new = sum(1 for path in audio.rglob("*.json") if path.stat().st_mtime >= begin_s) if audio.is_dir() else 0
    if n_new:
        with replacing(took) as part:
            part.write_bytes(json_text({"seconds_per_clip": (time.monotonic() - began_s) / n_new, "clips": n_new}))
    seconds = load_json(read_small(took)).get("seconds_per_clip") if took.is_file() else None
    sections = discover().sections()
    done = read_manifest(made, sections) if made.stat().st_size else []
    return code, System(name, {entry.id: entry.audio for entry in done if entry.audio}, model, seconds, further)


def _row(entry: ManifestEntry, given: str) -> dict[str, Any]:
    """What a model is given of a clip."""
    if entry.video is None:
        raise DataError(f"clip {entry.id} has no video; models generate audio for videos")
    row: dict[str, Any] = {"id": entry.id, "video": str(entry.video.resolve())}
    if given == "caption":
        if not entry.captions:
            raise DataError(f"--given caption: clip {entry.id} has no caption")
        row["caption"] = entry.captions[0]
    if given == "plan":
        if not entry.plans:
            raise DataError(f"--given plan: clip {entry.id} has no plan")
        row["plan"] = str(entry.plans[0])
    return row


def score(
    systems: Sequence[System], entries: Sequence[ManifestEntry], folder: EvaluationFolder, suite: Suite, baseline: str,
    options: argparse.Namespace, columns: Sequence[PaperColumn] | None = None, notes: Sequence[str] = (),
) -> int:  # fmt: skip
    """Score all systems, write the results and print them.

    Args:
        systems: The systems.
        entries: The clips.
        folder: The folder of the evaluation.
        suite: The suite of the clips.
        baseline: Name of the system with which the others are compared.
        options: The parsed command line.
        columns: Columns of the table in the form of the paper; None for those of its main table.
        notes: What a reader of the values must know.

    Returns:
        0, or 2 if some files could not be scored.
    """
    from prismaudio.cli.evaluate_report import write as write_report
    from prismaudio.evaluation import comparison, paper_table, presentation
    from prismaudio.evaluation.opinions import mean_opinions
    from prismaudio.evaluation.run import make_scorers
    from prismaudio.progress import Reporter

    runs: dict[str, list[ScoreRun]] = {}
    missing: dict[str, list[str]] = {}
    scorers = make_scorers(options)
    with Reporter(len(systems) * len(entries), "files") as reporter:
        for system in systems:
            run, lost = comparison.score_system(system, entries, folder, options, scorers, reporter)
            runs.setdefault(system.name, []).append(run)
            missing.setdefault(system.name, []).extend(lost)
    found = comparison.compare(runs, entries, baseline, suite.group_columns)
    for name in runs:
        seeds = [system for system in systems if system.name == name]
        found.describe(seeds, list(dict.fromkeys(missing[name])), len(entries), folder.folder)
        if seeds[0].model is not None:
            found.systems[name] |= {"parameters": paper_table.num_parameters(seeds[0].model)}
    found.notes += notes
    title = f"{type(suite).__name__}, {len(entries)} clips"
    truth = next((system.name for system in systems if paper_table.is_truth(system, entries)), None)
    for name, opinions in mean_opinions(folder.folder, truth).items():
        if name in found.systems:
            found.systems[name] |= opinions
    paper = paper_table.paper_table(found, columns or paper_table.MAIN, truth)
    as_in_paper = paper.grid("In the columns of the paper", intervals=len(paper.columns) <= MAX_WITH_INTERVALS)
    text = f"{presentation.markdown(found, title)}\n{as_in_paper.markdown()}"
    for path, data in (
        (folder.folder / "results.json", json_text({**found.as_dict(), "paper": paper.as_dict()}, indent=2)),
        (folder.folder / "results.md", escaped(text).encode()),
    ):
        with replacing(path) as part:
            part.write_bytes(data)
    with replacing(folder.folder / "results.png") as part:
        presentation.draw(found, part)
    _show(found, as_in_paper, options.table)
    write_report(folder.folder)
    return reporter.conclude(f"{len(reporter.failures)} failures in {len(systems) * len(entries)} files")


def _show(found: Comparison, as_in_paper: Grid, table: str) -> None:
    """Print what ``--table`` names, and the notes."""
    from prismaudio.evaluation import presentation
    from prismaudio.progress import wide_console

    console = wide_console(200)
    if table != "paper":
        tables = presentation.tables(found)
        for each in tables[:MAX_TABLES]:
            console.print(each)
        if len(tables) > MAX_TABLES:
            console.print(f"  {len(tables) - MAX_TABLES} more groups are in results.md", markup=False)
        for reason, left in presentation.unmeasured(found).items():
            console.print(f"  not measured: {', '.join(left)}: {reason}", markup=False, highlight=False, soft_wrap=True)
    if table != "scores":
        as_in_paper.show(console)
    for note in found.notes:
        console.print(f"  note: {note}", markup=False, highlight=False, soft_wrap=True)
