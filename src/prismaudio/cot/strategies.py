"""The four forms of a chain of thought that the paper compares: none, random, monolithic and decomposed.

Source: the ablation of the paper; each form is a column of the manifest, so that training differs in nothing else.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prismaudio.cot.rows import CotRow

COLUMNS = {
    "plan": "decomposed",
    "plan_monolithic": "monolithic",
    "plan_random": "random",
    "plan_none": "none",
}
"""The strategy of each column of the manifest."""


def undivided(row: CotRow) -> str:
    """The chain of thought as one text: that of the annotator, else the sections one after the other.

    Of a row that a person has corrected these are the corrected sections.
    """
    return row.cot if row.cot and not row.corrected else " ".join(row.sections.values())


def strategy_plans(row: CotRow) -> dict[str, Any]:
    """The plan of each strategy by column, as the column holds it.

    A text without sections is a plan with only a semantic section, as a caption is. Without a caption there is no plan
    of the strategy ``none``; the clip is trained on without text.

    Example:
        >>> from prismaudio.cot.rows import CotRow
        >>> row = CotRow("a", {"caption": "A dog."}, 2.0, {"semantic": "A dog barks.", "spatial": "It is left."})
        >>> strategy_plans(row)["plan_monolithic"], strategy_plans(row)["plan_none"]
        ({'semantic': 'A dog barks. It is left.'}, {'semantic': 'A dog.'})
    """
    whole = undivided(row)
    words = whole.split()
    random.Random(f"random words of {row.id}").shuffle(words)
    captions = row.clip.get("caption") or []
    plans = [{"semantic": caption} for caption in (captions if isinstance(captions, list) else [captions]) if caption]
    return {
        "plan": row.sections,
        "plan_monolithic": {"semantic": whole},
        "plan_random": {"semantic": " ".join(words)},
        "plan_none": plans[0] if len(plans) == 1 else plans or None,
    }
