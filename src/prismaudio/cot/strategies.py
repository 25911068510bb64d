"""The four forms of a chain of thought that the paper compares: none, random, monolithic and decomposed.

Source: the ablation of the paper; each form is a column of the manifest, so that training differs in nothing else.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prismaudio.cot.rows import CotRow

COLUMNS = {
    "plan": "decomposed",
    "plan_monolithic": "monolithic",
    "plan_random": "random",
    "plan_none": "none",
}
"""The strategy of each column of the manifest."""
STRATEGIES = ("none", "random", "monolithic", "decomposed")
"""The strategies, from the least structure to the most."""


def restructured(
    sections: Mapping[str, str], strategy: str, rng: random.Random, whole: str | None = None
) -> dict[str, str]:
    """The sections of a plan in the form of a strategy.

    A text without sections is a plan with only a semantic section, as a caption is.

    Args:
        sections: The sections of the decomposed plan.
        strategy: ``"none"``: no section. ``"random"``: the words of the whole text in random order.
            ``"monolithic"``: the whole text. ``"decomposed"``: the sections as they are.
        rng: Random generator for the order of the words.
        whole: The text as it was before it was divided; None for the sections one after the other.

    Example:
        >>> restructured({"semantic": "A dog barks.", "spatial": "It is left."}, "monolithic", random.Random(0))
        {'semantic': 'A dog barks. It is left.'}
    """
    if strategy == "none":
        return {}
    if strategy == "decomposed":
        return dict(sections)
    text = " ".join(sections.values()) if whole is None else whole
    if strategy == "random":
        words = text.split()
        rng.shuffle(words)
        text = " ".join(words)
    return {"semantic": text}


def undivided(row: CotRow) -> str:
    """The chain of thought as one text: that of the annotator, else the sections one after the other.

    Of a row that a person has corrected these are the corrected sections.
    """
    return row.cot if row.cot and not row.corrected else " ".join(row.sections.values())


def strategy_plans(row: CotRow) -> dict[str, Any]:
    """The plan of each strategy by column, as the column holds it.

    The plan of the strategy ``none`` is the caption; without a caption there is none, and the clip is trained on
    without text.

    Example:
        >>> from prismaudio.cot.rows import CotRow
        >>> row = CotRow("a", {"caption": "A dog."}, 2.0, {"semantic": "A dog barks.", "spatial": "It is left."})
        >>> strategy_plans(row)["plan_monolithic"], strategy_plans(row)["plan_none"]
        ({'semantic': 'A dog barks. It is left.'}, {'semantic': 'A dog.'})
    """
    whole = undivided(row)
    rng = random.Random(f"random words of {row.id}")
    captions = row.clip.get("caption") or []
    plans = [{"semantic": caption} for caption in (captions if isinstance(captions, list) else [captions]) if caption]
    return {
        "plan": row.sections,
        "plan_monolithic": restructured(row.sections, "monolithic", rng, whole),
        "plan_random": restructured(row.sections, "random", rng, whole),
        "plan_none": plans[0] if len(plans) == 1 else plans or None,
    }
