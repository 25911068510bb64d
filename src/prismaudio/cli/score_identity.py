"""What tells a reward or a metric from the same one with other weights, or of another release."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from torch import nn
from torchmetrics import Metric

from prismaudio.evaluation.judges import Absent, MetricJudge, RewardJudge
from prismaudio.weight_files import fingerprint

if TYPE_CHECKING:
    from prismaudio.evaluation.judges import Judge

DEPTH = 4
"""How far inside a metric its network may be: in a list of modules of a reader of its own, for example."""


def identity(judge: Judge) -> str:
    """A line of its name, its release, whether it can be had, and a hash of the networks that it hears with."""
    heard_with: tuple[object, ...] = ()
    if isinstance(judge, RewardJudge):
        heard_with = (judge.reward.identity, *networks(judge.reward))
    elif isinstance(judge, MetricJudge):
        heard_with = tuple(networks(judge.metric))
    digest = hashlib.blake2b(repr(heard_with).encode(), digest_size=12).hexdigest()
    return f"{judge.name} {judge.source} {isinstance(judge, Absent)} {digest}"


def networks(thing: object, depth: int = DEPTH) -> Iterator[str]:
    """Fingerprints of the networks that a reward or a metric holds.

    Example:
        >>> len(list(networks({"of": [nn.Linear(1, 1)], "name": "x"})))
        1
    """
    if isinstance(thing, nn.Module) and not isinstance(thing, Metric):
        yield fingerprint(thing)
    elif depth and not isinstance(thing, type):
        inside = thing.values() if isinstance(thing, Mapping) else getattr(thing, "__dict__", {}).values()
        for part in thing if isinstance(thing, list | tuple) else inside:
            yield from networks(part, depth - 1)
