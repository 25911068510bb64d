"""``prismaudio cot build``: write, check and filter the chain of thought of each clip of a manifest."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import TYPE_CHECKING, Any

from prismaudio.cli.arguments import Parser, whole
from prismaudio.cli.building import add_planners, build, join_planner_arguments, make_writer, parse_class
from prismaudio.cli.launching import Place, add_processes, check_processes, shared_place
from prismaudio.errors import DataError, PrismAudioError, first_of
from prismaudio.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prismaudio.cot.building import Checks, CotBuild
    from prismaudio.cot.results import Correction
    from prismaudio.cot.writers import Writer

ANNOTATOR, DECOUPLER, PLANNER = WRITERS = ("--annotator", "--decoupler", "--planner")
REWARDS = (
    "{class_path: TemporalReward, init_args: {against: plan}}",
    "AestheticReward",
    "{class_path: SpatialReward, init_args: {against: plan}}",
)
"""The rewards without --reward; none needs weights."""
SECOND_TEMPERATURE = 0.7
"""Sampling temperature of the second answer where that of the first is 0."""
_EPILOG = """\
Without --planner and --annotator, the plans of the manifest are checked. DIR/rows.jsonl has a row for each clip,
DIR/manifest.jsonl the accepted ones, with the plan as it is, as one text (plan_monolithic), as random words
(plan_random) and as the caption alone (plan_none), and DIR/summary.json the settings, counts and costs.

Run the command again to resume: rows that are there are not asked for again, nor questions whose answers are in the
cache. A clip without video or sound is skipped and listed in the summary. Where a model gives no answer, as when a
budget is used up, the clip has no row, the exit code is 2, and the next run asks again. A plan with a time outside its
clip, or without a section, is never accepted.

Under torchrun or srun, each process takes its part of the clips; no process waits for another.

examples:
  prismaudio cot build clips.csv -o cot --planner ApiPlanner --planner.model NAME --planner.base_url URL
  prismaudio cot build clips.csv -o cot --annotator VlmPlanner --annotator.model DIR --annotator.hear true \\
    --decoupler ApiPlanner --decoupler.model NAME --samples 2
  prismaudio cot build clips.jsonl -o checked --min-reward TemporalReward=0.3
  prismaudio cot build clips.csv -o cot --planner planner.yaml --corrections corrections.json
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio cot build``."""
    parser = Parser(
        "prismaudio cot build",
        description="Write the chain of thought of each clip of a manifest, check it, and make a manifest to train on.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("manifest", metavar="MANIFEST", help=".csv, .tsv or .jsonl with at least a column 'video'")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="output folder")
    writers = parser.add_argument_group("models")
    form = "a class, a model with a planner, or a YAML file with class_path and init_args"
    add_planners(writers, f"writes the sections at once: {form}", PLANNER)
    add_planners(writers, f"writes one text for each clip, with its caption and sound: {form}", ANNOTATOR)
    add_planners(writers, f"splits that text into sections: {form}", DECOUPLER)
    writers.add_argument(
        "--samples", type=whole(1, 2), default=1, metavar="N",
        help="2 to let the models write each plan again, with another seed and a temperature of at least "
        f"{SECOND_TEMPERATURE:g}, for gates that compare the two (default: %(default)s)",
    )  # fmt: skip
    writers.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default: %(default)s)")
    checks = parser.add_argument_group("checks")
    checks.add_argument(
        "--gate", action="append", metavar="CLASS",
        help="a gate that rows must pass, or with arguments as in a recipe: '{class_path: OnsetGate, init_args: "
        "{tolerance_s: 0.1}}'; may be given several times; none for none (default: all that are installed)",
    )  # fmt: skip
    checks.add_argument(
        "--reward", action="append", metavar="CLASS",
        help="a reward of the real sound against its plan, which is recorded, in the same form; may be given several "
        "times; none for none (default: TemporalReward, AestheticReward, SpatialReward)",
    )  # fmt: skip
    checks.add_argument(
        "--min-reward", action="append", default=[], type=_minimum, metavar="NAME=VALUE",
        help="reject rows with a lower score; a row that the reward cannot score is not rejected",
    )  # fmt: skip
    checks.add_argument(
        "--corrections", metavar="FILE",
        help='JSON of a person: {id: {"sections": {name: text}, "accepted": true or false}}; kept in DIR',
    )  # fmt: skip
    speed = add_processes(parser)
    speed.add_argument(
        "--batch-size", type=whole(1, 1024), default=4, metavar="B",
        help="clips that models are asked about together (default: %(default)s)",
    )  # fmt: skip
    return parser


def _minimum(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        if not name or not math.isfinite(float(value)):
            raise ValueError
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as TemporalReward=0.3") from None


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments and check that they go together."""
    parser = make_parser()
    options = parser.parse_args(join_planner_arguments(argv, WRITERS))
    for option in WRITERS:
        if len(getattr(options, option[2:])) > 1:
            parser.error(f"{option} is given twice; expected one")
    if options.planner and (options.annotator or options.decoupler):
        parser.error("--planner writes the sections at once; give it alone, or --annotator and --decoupler")
    if bool(options.annotator) != bool(options.decoupler):
        parser.error("--annotator and --decoupler belong together; one class may be both")
    if options.samples > 1 and not (options.planner or options.annotator):
        parser.error("--samples 2 needs a model to ask; give --planner, or --annotator and --decoupler")
    check_processes(parser, options)
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio cot build``."""
    options = parse(argv)
    place = shared_place(["cot", "build"], argv, options)
    return 0 if place is None else run(options, place)


def run(options: argparse.Namespace, place: Place) -> int:
    """Build the rows of this process, and write what all have built so far."""
    from prismaudio.cot.building import CotBuild, request_of
    from prismaudio.cot.results import conclude, read_corrections
    from prismaudio.cot.rows import RowFolder
    from prismaudio.data.manifest import read_manifest
    from prismaudio.data.sharing import locked
    from prismaudio.inference.settings import Settings
    from prismaudio.progress import Reporter
    from prismaudio.registry import discover

    dimensions = discover().dimensions()
    sections = [dimension.name for dimension in dimensions]
    entries = read_manifest(options.manifest, sections, some_may_lack=True)
    writer, second = _writers(options, place.device(options.device))
    checks = _checks(options, sections)
    minimums = dict(options.min_reward)
    if unknown := minimums.keys() - {scorer.name for scorer in checks.rewards}:
        raise PrismAudioError(f"--min-reward {min(unknown)}: this reward is not computed; add it with --reward")
    settings = {
        **writer.description(),
        "second": None if second is None else second.description(),
        "dimensions": sections,
        **checks.description(),
    }
    stopped: PrismAudioError | None = None
    folder = RowFolder(expanded(options.output), settings, place.rank + 1, place.world)
    corrections = {} if options.corrections is None else read_corrections(expanded(options.corrections), sections)
    own = entries[place.rank :: place.world]
    with folder, Reporter(len(own), "clips") as reporter:
        index = folder.index()
        keys = {entry.id: (entry.id, request_of(entry, writer)) for entry in entries}
        waiting = [entry for entry in own if keys[entry.id] not in index]
        reporter.skip(len(own) - len(waiting))
        frames = Settings().frame_spec
        building = CotBuild(writer, second, checks, dimensions, folder, reporter, frames)
        try:
            building.run(waiting, options.workers, options.batch_size)
        except PrismAudioError as error:
            stopped = error
        corrections = _kept_corrections(folder.folder, corrections, keys, sections)
        with locked(folder.folder):  # what ends last writes what all have built
            summary = conclude(folder, entries, writer, sections, minimums, corrections)
    n_left = len(waiting) - building.n_written - len(building.failures)
    return _report(options, summary, building, n_left, len(own) - len(waiting), stopped)


def _report(
    options: argparse.Namespace,
    summary: dict[str, Any],
    building: CotBuild,
    n_left: int,
    n_before: int,
    stopped: PrismAudioError | None,
) -> int:
    """Print what was done, and return the exit code.

    Raises:
        DataError: There is no row at all, or some clips have no answer yet.
    """
    n_failed = len(building.failures)
    sys.stderr.write(
        f"{options.output}: {building.n_written} rows written, {n_before} already there"
        + (f", {n_failed} clips skipped, see {options.output}/summary.json" if n_failed else "")
        + f"; {summary['accepted']} of {summary['rows']} rows are accepted\n"
    )
    for name, gate in summary["gates"].items():
        if gate["rejected"] or gate["skipped"]:
            sys.stderr.write(
                f"  {name}: {gate['rejected']} rejected, {gate['passed']} passed, {gate['skipped']} not applicable\n"
            )
    for name, score in summary["scores"].items():
        limit = "" if score["threshold"] is None else f", {score['below']} below {score['threshold']:g}"
        sys.stderr.write(f"  {name}: mean {score['mean']:.3f} of {score['rows']} rows{limit}\n")
    if outdated := summary["outdated_corrections"]:
        named = first_of(outdated, 3)
        sys.stderr.write(f"warning: corrections of rows that have changed are not applied: {named}\n")
    if n_left and stopped:
        raise DataError(f"{stopped}; {n_left} clips have no row yet")
    if n_left:
        why = next((f"{why}; " for why in building.waiting.values()), "")
        raise DataError(f"{why}{n_left} clips have no row yet: run the same command again, which asks about them alone")
    if stopped is not None:
        raise stopped
    if n_failed and not summary["rows"]:
        name, why = next(iter(building.failures.items()))
        raise DataError(f"all {n_failed} clips failed; the first is {name}: {why}")
    if summary["accepted"]:
        sys.stderr.write(f"train on them with --data.manifest {options.output}/manifest.jsonl\n")
    return 0


# Models --------------------------------------------------------------------------------------------------------------
def _writers(options: argparse.Namespace, device: str) -> tuple[Writer, Writer | None]:
    """Who writes the chains of thought, and who writes them again for a comparison."""
    from prismaudio.cot.writers import ManifestPlans, OneStep, TwoSteps
    from prismaudio.devices import find_device
    from prismaudio.planners.base import Annotator, Decoupler, Planner

    target = find_device(device)
    again = options.samples > 1
    if options.planner:
        planner = make_writer(options.planner[0], target, PLANNER, Planner)
        return OneStep(planner), OneStep(planner.resampled(SECOND_TEMPERATURE)) if again else None
    if options.annotator:
        annotator = make_writer(options.annotator[0], target, ANNOTATOR, Annotator)
        decoupler = make_writer(options.decoupler[0], target, DECOUPLER, Decoupler)
        second = TwoSteps(annotator.resampled(SECOND_TEMPERATURE), decoupler) if again else None
        return TwoSteps(annotator, decoupler), second
    return ManifestPlans(), None


# Checks --------------------------------------------------------------------------------------------------------------
def _checks(options: argparse.Namespace, sections: Sequence[str]) -> Checks:
    """The gates and rewards."""
    from prismaudio.cot.building import Checks, ComparesPlans
    from prismaudio.registry import discover
    from prismaudio.scorers import RewardScorer
    from prismaudio.signatures import parameters

    gates: dict[str, Any] = {}
    for text in _named(options.gate, discover().names("gates")):
        name, arguments = parse_class(text, "--gate")
        if "dimensions" in parameters(discover().load("gates", name)):
            arguments = {"dimensions": list(sections)} | arguments
        if name in gates:
            raise PrismAudioError(f"--gate names {name} twice; expected it once")
        gate = build("gates", json.dumps({"class_path": name, "init_args": arguments}), "--gate")
        if options.gate is not None or options.samples > 1 or not isinstance(gate, ComparesPlans):
            gates[name] = gate
    rewards = {}
    for text in _named(options.reward, REWARDS):
        reward = build("rewards", text, "--reward")
        if type(reward).__name__ in rewards:
            raise PrismAudioError(f"--reward names {type(reward).__name__} twice; expected it once")
        rewards[type(reward).__name__] = RewardScorer(reward, type(reward).__name__)
    return Checks(gates, list(rewards.values()))


def _named(given: Sequence[str] | None, default: Sequence[str]) -> Sequence[str]:
    if given is None:
        return default
    return [text for text in given if text != "none"]


# Corrections ---------------------------------------------------------------------------------------------------------
def _kept_corrections(
    folder: Path, given: dict[str, Correction], keys: dict[str, tuple[str, str]], sections: Sequence[str]
) -> dict[str, Correction]:
    """The corrections of this run and of earlier ones, which the folder keeps."""
    from prismaudio.cot.results import read_corrections, write_corrections
    from prismaudio.cot.rows import CORRECTIONS
    from prismaudio.data.sharing import locked

    if lost := sorted(given.keys() - keys.keys()):
        named = first_of(lost, 3)
        sys.stderr.write(f"warning: there are corrections for rows that do not exist: {named}; they are not applied\n")
    path = folder / CORRECTIONS
    with locked(folder):
        kept = read_corrections(path, sections) if path.exists() else {}
        if given:
            kept |= write_corrections(path, kept, given, keys)
    return kept
