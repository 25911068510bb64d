"""A reward for the presence of the sources that the plan names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from prismaudio.errors import NotApplicableError
from prismaudio.rewards.base import Cache, Reward, plan_text
from prismaudio.rewards.rows import pad_caches
from prismaudio_yamnet.labels import check_labels, class_map_next_to, named_classes, read_labels
from prismaudio_yamnet.network import N_CLASSES, Yamnet
from prismaudio_yamnet.weights import load_yamnet

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip, Need

LOWEST = -20.0


class YamnetReward(Reward):
    """Mean log-probability by YAMNet of the sources that the plan names.

    The probability of a source is the maximum over its classes and over segments of 0.96 s every 0.48 s that cover the
    audio. The score is between -20 (absent) and 0 (certain).

    Args:
        weights: ``YamNet_w8a8.onnx.zip``, or this network as ``.safetensors``, with ``yamnet_class_map.csv`` in the
            same folder; None for the default locations.
        text: ``"section"`` for the sources of the semantic section, ``"plan"`` for those of the whole plan.
        labels: Additional words and their AudioSet classes, for example ``{"kettle": ["Boiling", "Steam"]}``; they
            override the built-in nouns.
        network: A network to use instead of published weights.
    """

    dimension, range = "semantic", (LOWEST, 0.0)
    needs: frozenset[Need] = frozenset({"plan"})

    def __init__(
        self,
        weights: str | None = None,
        text: Literal["section", "plan"] = "section",
        labels: dict[str, list[str]] | None = None,
        network: Yamnet | None = None,
    ) -> None:
        self.network = network or load_yamnet(weights)
        self.text, self.own = text, labels or {}
        self.labels = read_labels(class_map_next_to(weights))
        check_labels(self.own, self.labels)

    @property
    def identity(self) -> str:
        """What the cached classes depend on."""
        return f"{type(self).__qualname__} {self.text} {self.own} {self.labels}"

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The classifier."""
        return (self.network,)

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """The classes of every named source, bool ``(sources, 521)``."""
        text = plan_text(plan, self.dimension, self.text)
        found = named_classes(text, self.labels, self.own)
        if not found:
            raise NotApplicableError(f"nothing that the plan names is a class of AudioSet: {text[:60]!r}")
        things = torch.zeros(len(found), N_CLASSES, dtype=torch.bool)
        for row, classes in enumerate(found):
            things[row, classes] = True
        return {"things": things}

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Scores ``(batch,)`` from -20 to 0."""
        (things,) = pad_caches(caches, "things", device=audio.device)
        logits = self.network.classify(audio, sample_rate_hz)[0].amax(1)
        best = torch.where(things, logits[:, None], -torch.inf).amax(2)
        scores = torch.nn.functional.logsigmoid(best).clamp(min=LOWEST)
        named = things.any(2)
        return (scores * named).sum(1) / named.sum(1)
