"""Streams of small transformers, as tests want them: by the dim of their features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prismaudio.models.conditioners import Conditioner, FeatureConditioner, GridConditioner, SyncConditioner

if TYPE_CHECKING:
    from collections.abc import Collection

KINDS = {"sync": SyncConditioner, "plan": GridConditioner}
GATES = {"video": 1.0, "plan": 2.0}


def streams(
    dim: int,
    attended: Collection[str] = ("video", "text"),
    added: Collection[str] = ("video", "sync", "plan"),
    **dims: int,
) -> dict[str, Conditioner]:
    """A conditioner for each stream that has a dim, with tokens as wide as the transformer."""
    return {
        name: KINDS.get(name, FeatureConditioner)(
            dim, dim, cross_attended=name in attended, additive=name in added, gate=GATES.get(name, 0.0)
        )
        for name, dim in dims.items()
    }
