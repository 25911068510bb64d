"""A reward from a plain function."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.errors import PrismAudioError, truncated
from prismaudio.plan import Plan
from prismaudio.rewards.base import Reward
from prismaudio.types import Clip

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from prismaudio.rewards.base import Cache
    from prismaudio.types import Need


class FunctionReward(Reward):
    """A reward from a plain function, for notebooks and scripts; also a decorator.

    It is a reward like any other for :class:`prismaudio.training.fast_grpo.FastGrpoTask` and :func:`prismaudio.score`.
    A recipe names a function of a plugin by its path, such as ``mine.crest`` of ``--plugin mine.py``; a function of a
    notebook has none, and no file can hold it. ``prismaudio plugins new --kind reward`` writes a class that any recipe
    can name.

    Args:
        function: ``function(audio, sample_rate_hz)`` returns the score of one candidate, float32 ``(2, samples)`` on
            the device of training, as a number. With ``needs`` it is called as
            ``function(audio, sample_rate_hz, clip, plan)``, where the clip has its name, its duration and the needed
            inputs on the CPU, and the plan is empty unless it is needed.
        needs: What it reads besides the audio: ``"video"`` (``clip.frames``), ``"reference"`` (``clip.audio``),
            ``"plan"``. Clips that lack one of these are not scored.
        higher_is_better: Whether higher scores are better.
        lowest: The lowest possible score.
        highest: The highest possible score.

    Example:
        >>> @FunctionReward
        ... def peak(audio, sample_rate_hz):
        ...     return audio.abs().max()
        >>> peak.score(torch.tensor([[[0.1, -0.5]], [[0.2, 0.0]]]), 16_000, [{}, {}])
        tensor([0.5000, 0.2000])
        >>> longer = FunctionReward(lambda audio, rate_hz, clip, plan: len(plan["semantic"]), needs={"plan"})
        >>> cache = longer.prepare(Clip("a", 1.0), Plan({"semantic": "A dog barks."}))
        >>> longer.score(torch.zeros(1, 2, 100), 16_000, [cache])
        tensor([12.])
    """

    def __init__(
        self,
        function: Callable[..., Any],
        needs: Collection[Need] = (),
        *,
        higher_is_better: bool = True,
        lowest: float = -math.inf,
        highest: float = math.inf,
    ) -> None:
        known = {"video", "reference", "plan"}
        if isinstance(needs, str) or (unknown := {*needs} - known):
            named = needs if isinstance(needs, str) else ", ".join(sorted(unknown))
            raise PrismAudioError(
                f"needs of a FunctionReward is {named!r}; expected a set of {', '.join(sorted(known))}"
            )
        self.function, self.needs = function, frozenset(needs)
        self.higher_is_better, self.range = higher_is_better, (lowest, highest)

    @property
    def identity(self) -> None:
        """None: what a function does cannot be told from its name, so nothing that depends on it is stored."""

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """The needed inputs, as tensors."""
        if not self.needs:
            return {}
        texts = {"id": clip.id, "plan": dict(plan) if "plan" in self.needs else {}}
        cache = {
            "texts": torch.tensor([*json.dumps(texts).encode()], dtype=torch.uint8),
            "duration_s": torch.tensor(clip.duration_s, dtype=torch.float64),
        }
        if "video" in self.needs and clip.frames is not None and clip.fps is not None:
            cache |= {"frames": clip.frames.cpu(), "fps": torch.tensor(clip.fps, dtype=torch.float64)}
        if "reference" in self.needs and clip.audio is not None and clip.sample_rate_hz is not None:
            cache |= {"audio": clip.audio.cpu(), "sample_rate_hz": torch.tensor(clip.sample_rate_hz)}
        return cache

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Score each candidate by itself.

        Raises:
            PrismAudioError: The function does not return a number.
        """
        found = [self.function(one, sample_rate_hz, *_inputs(cache)) for one, cache in zip(audio, caches, strict=True)]
        return torch.stack([_scalar(value).to(audio.device) for value in found])


def _scalar(value: Any) -> Tensor:
    try:
        return torch.as_tensor(value, dtype=torch.float32).reshape(())
    except (TypeError, ValueError, RuntimeError) as error:
        found = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        raise PrismAudioError(
            f"the function of a FunctionReward returns {truncated(found, 80)} for a candidate; expected a number"
        ) from error


def _inputs(cache: Cache) -> tuple[()] | tuple[Clip, Plan]:
    """Clip and plan that the function gets, from what :meth:`FunctionReward.prepare` returned."""
    if not cache:
        return ()
    texts = json.loads(bytes(cache["texts"].tolist()))
    fps, rate_hz = (cache[name].item() if name in cache else None for name in ("fps", "sample_rate_hz"))
    clip = Clip(
        texts["id"],
        cache["duration_s"].item(),
        frames=cache.get("frames"),
        fps=fps,
        audio=cache.get("audio"),
        sample_rate_hz=None if rate_hz is None else int(rate_hz),
    )
    return clip, Plan(texts["plan"])
