"""PrismAudio: video-to-audio generation with chain-of-thought planning.

What needs torch or Lightning is imported when it is first used, so that ``import prismaudio`` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pluggy

from prismaudio.components import Command, Component, Dimension, Pretrained, Stream

if TYPE_CHECKING:
    from prismaudio.data.datamodule import ManifestDataModule
    from prismaudio.evaluation.files import score
    from prismaudio.inference import PrismAudio
    from prismaudio.inference.generated import GeneratedAudio
    from prismaudio.inference.settings import Guidance
    from prismaudio.plan import Plan
    from prismaudio.rewards import Reward
    from prismaudio.rewards.function import FunctionReward
    from prismaudio.training.callbacks.export import ExportComponents
    from prismaudio.training.cot_tuning import CotTuningTask
    from prismaudio.training.fast_grpo import FastGrpoTask
    from prismaudio.training.foundation import FoundationTask
    from prismaudio.training.grpo.options import PolicyOptions, RewardOptions, RolloutOptions
    from prismaudio.training.lora import Lora
    from prismaudio.types import Clip

__version__ = "0.2.0"
__all__ = [
    "Clip",
    "Command",
    "Component",
    "CotTuningTask",
    "Dimension",
    "ExportComponents",
    "FastGrpoTask",
    "FoundationTask",
    "FunctionReward",
    "GeneratedAudio",
    "Guidance",
    "Lora",
    "ManifestDataModule",
    "Plan",
    "PolicyOptions",
    "Pretrained",
    "PrismAudio",
    "Reward",
    "RewardOptions",
    "RolloutOptions",
    "Stream",
    "__version__",
    "hookimpl",
    "score",
]

_TARGETS = {
    "Clip": "prismaudio.types",
    "CotTuningTask": "prismaudio.training.cot_tuning",
    "ExportComponents": "prismaudio.training.callbacks.export",
    "FastGrpoTask": "prismaudio.training.fast_grpo",
    "FoundationTask": "prismaudio.training.foundation",
    "FunctionReward": "prismaudio.rewards.function",
    "GeneratedAudio": "prismaudio.inference.generated",
    "Guidance": "prismaudio.inference.settings",
    "Lora": "prismaudio.training.lora",
    "ManifestDataModule": "prismaudio.data.datamodule",
    "Plan": "prismaudio.plan",
    "PolicyOptions": "prismaudio.training.grpo.options",
    "PrismAudio": "prismaudio.inference",
    "Reward": "prismaudio.rewards",
    "RewardOptions": "prismaudio.training.grpo.options",
    "RolloutOptions": "prismaudio.training.grpo.options",
    "score": "prismaudio.evaluation.files",
}
"""Module of each name that is imported when it is first used."""

hookimpl = pluggy.HookimplMarker("prismaudio")


def __getattr__(name: str) -> Any:
    if name in _TARGETS:
        return getattr(import_module(_TARGETS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
