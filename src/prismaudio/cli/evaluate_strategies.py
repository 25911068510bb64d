"""``prismaudio evaluate strategies``: the same clips with plans of different forms, as in the paper's ablation."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prismaudio.cli import evaluate
from prismaudio.cli.arguments import Parser, names
from prismaudio.cli.building import NO_PLANNER, PLANNER, SAMPLER, join_planner_arguments, make_planners
from prismaudio.cot.strategies import STRATEGIES, strategy_plans
from prismaudio.errors import DataError, PrismAudioError, UnknownNameError
from prismaudio.media.files import check_writable, replacing
from prismaudio.paths import expanded
from prismaudio.plan import Plan
from prismaudio.registry import discover
from prismaudio.untrusted import json_text, load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prismaudio.data.manifest import ManifestEntry
    from prismaudio.evaluation.comparison import EvaluationFolder, System

TRUE, PLANNED = "true", "planner"
"""Where plans come from."""
MAX_BYTES = 1 << 28
"""Maximum size of the file of plans that a planner wrote."""
_EPILOG = """\
Every model is given the plan of a clip in the form of its strategy and nothing else; no planner completes it:
  none         the caption; without a caption no text
  random       the words of all sections in random order, as one semantic section
  monolithic   the sections one after the other, as one semantic section
  decomposed   the sections

One model is given plans of all forms, or a model that was trained on plans of a form is named after it.

examples:
  prismaudio evaluate strategies --suite studio --suite.count 20 --model studio -o strategies
  prismaudio evaluate strategies --suite clips.csv --model none=runs/none --model decomposed=runs/decomposed -o out
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio evaluate strategies``."""
    parser = Parser(
        "prismaudio evaluate strategies",
        description="Compare forms of the chain of thought: none, random, monolithic and decomposed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.add_suite(parser)
    what = parser.add_argument_group("models and plans")
    what.add_argument(
        "--model", action="append", default=[], metavar="[STRATEGY=]MODEL",
        help="the model of a strategy, or of all strategies that have none of their own; repeatable",
    )  # fmt: skip
    what.add_argument(
        "--strategies", type=names("strategy", STRATEGIES), default=STRATEGIES, metavar="NAMES",
        help="comma-separated strategies; the others are compared with the first one (default: all four)",
    )  # fmt: skip
    what.add_argument(
        "--plans", choices=(TRUE, PLANNED), default=TRUE,
        help="the plans that are brought into these forms: those of the suite, or what the planners of --planner and "
        "then that of the model of the last strategy write for the video (default: %(default)s)",
    )  # fmt: skip
    evaluate.add_running(parser)
    parser.set_defaults(table="both")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio evaluate strategies``.

    Returns:
        0, or 2 if some clips could not be generated or scored.
    """
    options = make_parser().parse_args(join_planner_arguments(argv, (PLANNER, SAMPLER, evaluate.SUITE)))
    models = models_of(options.model, options.strategies)
    if options.planner and options.plans != PLANNED:
        raise PrismAudioError(f"{PLANNER} writes the plans only with --plans {PLANNED}; add it, or leave out {PLANNER}")
    for kind in ("rewards", "metrics"):
        for scorer in getattr(options, kind) or ():
            discover().find(kind, scorer)
    output = expanded(options.output)
    check_writable(output)
    suite = evaluate.find_suite(options.suite)
    from prismaudio.evaluation.comparison import EvaluationFolder
    from prismaudio.evaluation.paper_table import STRATEGY

    folder = EvaluationFolder(output)
    folder.check()
    sections = discover().sections()
    entries = suite.clips(folder.media, sections)[: options.limit]
    if options.plans == TRUE:
        plans = true_plans(entries)
    folder.keep_clips(suite, entries)
    if options.plans == PLANNED:
        plans = planned(entries, folder, models[options.strategies[-1]], options)
    given = argparse.Namespace(**vars(options) | {"given": "plan", "planner": [NO_PLANNER]})
    code = 0
    systems: list[System] = []
    for strategy, model in models.items():
        own = [replace(entry, plans=(form(entry, plans[entry.id], strategy),)) for entry in entries]
        for seed in range(options.seed, options.seed + options.seeds):
            failed, system = evaluate.generate(strategy, model, own, folder, given, seed)
            code = max(code, failed)
            systems.append(system)
    return code | evaluate.score(
        systems, entries, folder, suite, options.strategies[0], options, STRATEGY, _notes(entries, options)
    )


def models_of(given: Sequence[str], strategies: Sequence[str]) -> dict[str, str]:
    """The model of each strategy.

    Args:
        given: The values of ``--model``.
        strategies: The strategies.

    Raises:
        PrismAudioError: One has no model, or a model is named after something else.

    Example:
        >>> models_of(["small", "none=runs/none"], ("none", "random"))
        {'none': 'runs/none', 'random': 'small'}
    """
    own: dict[str, str] = {}
    for text in given:
        strategy, equals, model = text.partition("=")
        if not equals:
            strategy, model = "", text
        elif strategy not in STRATEGIES:
            raise UnknownNameError(f"--model {text}: {discover().advice(strategy, STRATEGIES)}")
        if strategy in own or not model:
            which = f"of the strategy {strategy}" if strategy else "of all strategies"
            raise PrismAudioError(f"--model {text}: expected one model {which}, as in --model {strategy or 'none'}=DIR")
        own[strategy] = model
    if lacking := [strategy for strategy in strategies if strategy not in own and "" not in own]:
        raise PrismAudioError(
            f"no model is given plans of the form {lacking[0]}; give --model MODEL for all strategies, "
            f"--model {lacking[0]}=DIR, or leave it out of --strategies"
        )
    if unused := [strategy for strategy in own if strategy and strategy not in strategies]:
        raise PrismAudioError(f"--model {unused[0]}=…: {unused[0]} is not one of --strategies {','.join(strategies)}")
    return {strategy: own.get(strategy, own.get("", "")) for strategy in strategies}


def true_plans(entries: Sequence[ManifestEntry]) -> dict[str, Plan]:
    """The plan of each clip of a suite, by id.

    Raises:
        DataError: A clip has none.
    """
    without = [entry.id for entry in entries if not entry.plans]
    if without:
        raise DataError(
            f"{len(without)} of {len(entries)} clips of the suite have no plan, such as {without[0]}; "
            f"give plans in the column plan, or let a planner write them: --plans {PLANNED}"
        )
    return {entry.id: entry.texts[0] for entry in entries}


def form(entry: ManifestEntry, plan: Plan, strategy: str) -> Plan:
    """The plan of a clip in the form of a strategy.

    Args:
        entry: The clip, whose first caption is the plan of the strategy ``none``.
        plan: Its plan.
        strategy: One of :data:`prismaudio.cot.strategies.STRATEGIES`.
    """
    from prismaudio.cot.rows import CotRow

    row = CotRow(entry.id, {"caption": list(entry.captions[:1])}, 0.0, dict(plan))
    column = "plan" if strategy == "decomposed" else f"plan_{strategy}"
    return Plan(strategy_plans(row)[column] or {"semantic": ""})


def planned(
    entries: Sequence[ManifestEntry], folder: EvaluationFolder, model: str, options: argparse.Namespace
) -> dict[str, Plan]:
    """The plans that planners write for the videos, kept in ``systems/plans.jsonl``.

    Args:
        entries: The clips.
        folder: The folder of the evaluation.
        model: The model whose planner completes them.
        options: ``planner``, the planners of the command line, and ``device``.
    """
    from prismaudio import pretrained
    from prismaudio.inference import PrismAudio

    path = folder.folder / "systems" / "plans.jsonl"
    by = [pretrained.find(model).hash, *options.planner]
    known: dict[str, str] = {}
    if path.is_file():
        for line in read_small(path, MAX_BYTES).splitlines():
            with suppress(
                ValueError, LookupError, TypeError, AttributeError
            ):  # a line that was cut off is written again
                row = load_json(line)
                known |= {str(row["id"]): str(row["plan"])} if row.get("by") == by else {}
    dimensions = discover().sections()
    waiting = [entry for entry in entries if entry.id not in known]
    if waiting:
        planners = make_planners(options.planner, options.device)
        writer = PrismAudio.from_pretrained(model, options.device, low_memory=bool(planners))
        path.parent.mkdir(parents=True, exist_ok=True)
        for number, entry in enumerate(waiting, 1):
            if entry.video is None:
                raise DataError(f"clip {entry.id} has no video; planners write plans for videos")
            known[entry.id] = str(writer.plan(entry.video, planners=planners))
            with replacing(path) as part:
                part.write_bytes(b"".join(json_text(_row(name, plan, by)) for name, plan in known.items()))
            sys.stderr.write(f"planned {number}/{len(waiting)} {entry.id}\n")
    return {entry.id: Plan.parse(known[entry.id], dimensions) for entry in entries}


def _row(name: str, plan: str, by: Sequence[str]) -> Mapping[str, Any]:
    return {"id": name, "plan": plan, "by": list(by)}


def _notes(entries: Sequence[ManifestEntry], options: argparse.Namespace) -> list[str]:
    """What a reader of the values must know."""
    written = "those of the suite" if options.plans == TRUE else "written by a planner"
    n_without = sum(not entry.captions for entry in entries)
    without = f"; {n_without} of {len(entries)} clips have no caption and are given no text" if n_without else ""
    notes = [f"plans are {written}, and scores are against those of the suite, for all strategies"]
    return [*notes, *([f"none is given the caption{without}"] if "none" in options.strategies else [])]
