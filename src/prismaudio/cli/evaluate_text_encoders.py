"""``prismaudio evaluate text-encoders``: what probes read from encoded plans: order, causes, chains of events."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from prismaudio.cli import evaluate_encoders as shared
from prismaudio.cli.arguments import Parser
from prismaudio.errors import DataError, PrismAudioError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from prismaudio.cli.evaluate_encoders import Named
    from prismaudio.evaluation.comparison import EvaluationFolder
    from prismaudio.evaluation.probes import ProbeRow, Question

WORDS, MENTION, SHUFFLED = "bag of words", "order of mention", "shuffled weights"
DURATION_S = 10.0
"""Duration of the clip of a text, for encoders that need one."""
_LEGEND = (
    f"*: the interval of the paired difference from {WORDS} does not contain zero; {MENTION}: the source that is named "
    "first, or last; random labels: probes that are trained and tested on answers exchanged at random"
)
_EPILOG = """\
The questions are made from the plans of the clips:
  ordering     which of two sources is heard first? temporal sections, with the names exchanged
  causal       is the effect after its cause? sections that state both, with the two exchanged
  multi-step   which source is heard last, of a chain of three or more events? with the names in all rotations
Each text has a twin with the same words and another answer, so that a bag of words is right by chance. A probe is a
logistic regression on the mean of the features over the tokens, tested on clips, or causes, that it has not seen.

examples:
  prismaudio evaluate text-encoders --suite clips.csv --encoder T5GemmaEncoder -o encoders
  prismaudio evaluate text-encoders --suite clips.csv --encoder T5GemmaEncoder --encoder.weights google-t5/t5-base \\
    --encoder HashedTextEncoder -o encoders
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio evaluate text-encoders``."""
    parser = Parser(
        "prismaudio evaluate text-encoders",
        description="Compare encoders of text by linear probes on the plans of clips.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group = shared.add_options(parser, "text")
    group.add_argument("--no-shuffled", action="store_true", help=f"leave out the control of encoders with {SHUFFLED}")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio evaluate text-encoders``.

    Returns:
        0.
    """
    options = make_parser().parse_args(shared.joined(argv))
    encoders = shared.named_encoders(options.encoder, shared.ENCODER, of_text=True)
    if not encoders:
        raise PrismAudioError("there is no encoder to evaluate; give --encoder CLASS")
    from prismaudio.devices import find_device
    from prismaudio.evaluation import probes

    device = find_device(options.device)
    folder, suite, entries = shared.opened(options)
    if not any(entry.plans for entry in entries):
        raise DataError(
            "no clip of the suite has a plan, from which the questions are made; give them in a column plan"
        )
    asked = {name: make(entries) for name, make in probes.PROBES.items()}
    reasons = {name: why for name, own in asked.items() if (why := probes.enough(own))}
    asked = {name: own for name, own in asked.items() if name not in reasons}
    if not asked:
        name, why = next(iter(reasons.items()))
        raise DataError(f"the {len(entries)} clips of the suite are too few for a probe: {name}: {why}")
    folder.keep_clips(suite, entries)
    features = {name: probes.word_counts(own) for name, own in asked.items()}
    words, control = probes.answered(features, asked, options.folds, options.seed)
    rows = [probes.probe_row(WORDS, words, control, asked)]
    guesses = {name: right for name, own in asked.items() if (right := probes.guessed(own)) is not None}
    for one in encoders:
        rows += _rows(one, folder, asked, options, device, words)
    rows += [probes.probe_row(MENTION, guesses, {}, asked)] * bool(guesses) + [probes.chance_row(asked)]
    grid = probes.probe_grid(rows, reasons, f"Probes of text encoders, {type(suite).__name__}, {len(entries)} clips")
    grid.notes += [*(_counted(name, own) for name, own in asked.items()), _LEGEND]
    content: dict[str, Any] = {
        "clips": len(entries), "folds": options.folds, "seed": options.seed,
        "probes": {
            name: {"texts": len(own), "clips": len({question.clip for question in own})} for name, own in asked.items()
        },
        "not_measured": reasons, "rows": [row.as_dict() for row in rows], "notes": grid.notes,
    }  # fmt: skip
    shared.conclude(folder, "text_encoders", grid, content)
    return 0


def _counted(name: str, own: Sequence[Question]) -> str:
    """How many texts a probe has."""
    clips, groups = {question.clip for question in own}, {question.group for question in own}
    pairs = f", {len(groups)} causes with their effects" if name == "causal" else ""
    return f"{name}: {len(own)} texts of {len(clips)} clips{pairs}"


def _rows(
    one: Named, folder: EvaluationFolder, asked: Mapping[str, Sequence[Question]], options: argparse.Namespace,
    device: torch.device, words: Mapping[str, torch.Tensor],
) -> list[ProbeRow]:  # fmt: skip
    """The lines of an encoder and of its control; empty ones with the reason if it cannot encode the texts."""
    import torch

    from prismaudio.evaluation import probes
    from prismaudio.evaluation.embeddings import shuffled_weights

    try:
        encoder = one.make(device)
        features = _features(one, encoder, one.name, folder, asked)
    except PrismAudioError as error:
        return [probes.ProbeRow(one.name, reason=str(error))]
    rows = [probes.probe_row(one.name, *probes.answered(features, asked, options.folds, options.seed), asked, words)]
    if options.no_shuffled:
        return rows
    title = f"{one.name}, {SHUFFLED}"
    if not isinstance(encoder, torch.nn.Module) or not any(True for _ in encoder.parameters()):
        return [*rows, probes.ProbeRow(title, reason="it has no weights")]
    shuffled_weights(encoder, options.seed)
    features = _features(one, encoder, f"{one.name}-shuffled", folder, asked)
    measured = probes.answered(features, asked, options.folds, options.seed)
    return [*rows, probes.probe_row(title, *measured, asked, words)]


def _features(
    one: Named, encoder: Any, name: str, folder: EvaluationFolder, asked: Mapping[str, Sequence[Question]]
) -> dict[str, torch.Tensor]:
    """The means over the tokens ``(n, dim)`` of the texts of each probe.

    Raises:
        DataError: The features of a text cannot be used.
    """
    import torch

    from prismaudio.evaluation.embeddings import identity, key_of, pooled
    from prismaudio.types import Clip

    texts = list(dict.fromkeys(str(question.text) for own in asked.values() for question in own))
    plans = {str(question.text): question.text for own in asked.values() for question in own}

    def embedded(at: int) -> torch.Tensor:
        with torch.no_grad():
            return pooled(encoder.encode(Clip("text", DURATION_S), plans[texts[at]]), f"the text {texts[at][:60]!r}")

    by = identity(encoder, one.arguments)
    found, failures = shared.embeddings(folder, name, by, [key_of(text) for text in texts], embedded)
    if failures:
        raise DataError(f"{len(failures)} of {len(texts)} texts cannot be encoded: {next(iter(failures.values()))}")
    numbers = {text: at for at, text in enumerate(texts)}
    return {
        probe: torch.stack([found[numbers[str(question.text)]] for question in own]) for probe, own in asked.items()
    }
