"""Policy losses of a stochastic step, given its advantage."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from prismaudio.checkpoints import Configured
from prismaudio.flow.kernels import Reduction, Transition


class PolicyLoss(Configured, ABC):
    """The loss of one stochastic step for each sample; a subclass maps the log-ratio of the densities to it.

    Args:
        reduction: Whether the log-density is the mean over the elements of a sample, as published, or their sum, the
            true one.
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        self.reduction: Reduction = reduction

    @abstractmethod
    def terms(self, log_ratio: Tensor, advantages: Tensor, new: Transition, old: Transition) -> tuple[Tensor, Tensor]:
        """The loss ``(batch,)`` of each sample, and True where it was limited, ``(batch,)``.

        Args:
            log_ratio: Log-density under the new policy minus that under the old, ``(batch,)``.
            advantages: Advantages ``(batch,)``.
            new: The step under the policy that is trained.
            old: The step under the policy that sampled it.
        """

    def loss(
        self, new: Transition, old: Transition, latents: Tensor, advantages: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each sample ``(batch,)``, to be weighted and averaged, and statistics of the batch.

        Args:
            new: The step under the policy that is trained, with gradient.
            old: The step under the policy that sampled it.
            latents: The latents ``(batch, ...)`` that were sampled.
            advantages: Advantages ``(batch,)``.

        Returns:
            The loss, and by name, without gradient: ``ratio`` (mean), ``ratio_error`` (largest distance from 1),
            ``above_one`` (share of ratios above 1), ``clip_fraction`` (share of limited samples), ``shift`` (delta
            squared, see :meth:`Transition.shift`), ``approx_kl`` (half the mean square of the log-ratio); and
            ``limited``, True for the samples whose loss was limited, ``(batch,)``.
        """
        log_ratio = new.log_prob(latents, self.reduction) - old.log_prob(latents, self.reduction)
        terms, limited = self.terms(log_ratio, advantages, new, old)
        with torch.no_grad():
            found = statistics(log_ratio, limited)
            return terms, {**found, "shift": new.shift(old).mean(), "limited": limited}


class ClippedLoss(PolicyLoss):
    """PPO's clipped loss: ratios beyond ``1 - clip .. 1 + clip`` have no gradient towards their advantage.

    Args:
        clip: Lower limit of the ratio is ``1 - clip``; very small where log-densities are means over elements.
        clip_above: Upper limit of the ratio is ``1 + clip_above``; None for ``clip``.
        reduction: See :class:`PolicyLoss`.

    Source:
        PPO (1707.06347), as in Flow-GRPO and PrismAudio's released code, 1e-4; unequal: DAPO (2503.14476).
    """

    def __init__(self, clip: float = 1e-4, clip_above: float | None = None, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.clip, self.clip_above = clip, clip if clip_above is None else clip_above

    def terms(self, log_ratio: Tensor, advantages: Tensor, new: Transition, old: Transition) -> tuple[Tensor, Tensor]:
        """See :meth:`PolicyLoss.terms`."""
        return self.clipped(log_ratio.exp(), advantages)

    def clipped(self, ratio: Tensor, advantages: Tensor) -> tuple[Tensor, Tensor]:
        """The loss for ratios ``(batch,)``, and True where one is beyond its limits."""
        inside = ratio.clamp(1 - self.clip, 1 + self.clip_above)
        return torch.maximum(-advantages * ratio, -advantages * inside), ratio != inside


class GuardedLoss(ClippedLoss):
    """GRPO-Guard's loss: ratios are centred at 1 and scaled to the same deviation at all times, then clipped.

    Args:
        clip: Lower limit of the ratio is ``1 - clip``.
        clip_above: Upper limit of the ratio is ``1 + clip_above``; None for ``clip``.
        reduction: See :class:`PolicyLoss`.

    Source:
        GRPO-Guard (2510.22319), after two implementations; without the division by the step's length that one of them
        has.
    """

    def __init__(self, clip: float = 2e-6, clip_above: float | None = None, reduction: Reduction = "mean") -> None:
        super().__init__(clip, clip_above, reduction)

    def terms(self, log_ratio: Tensor, advantages: Tensor, new: Transition, old: Transition) -> tuple[Tensor, Tensor]:
        """See :meth:`PolicyLoss.terms`."""
        return self.clipped((old.std * (log_ratio + new.kl(old, self.reduction))).exp(), advantages)


class MaskedLoss(PolicyLoss):
    """Flow-DPPO's loss: samples that moved far in the direction of their advantage are masked, by exact divergence.

    Args:
        limit: Divergence of the new step from the old one at which a sample is masked.
        reduction: See :class:`PolicyLoss`.

    Source:
        Flow-DPPO (2606.11025).
    """

    def __init__(self, limit: float = 1e-5, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.limit = limit

    def terms(self, log_ratio: Tensor, advantages: Tensor, new: Transition, old: Transition) -> tuple[Tensor, Tensor]:
        """See :meth:`PolicyLoss.terms`."""
        far = new.kl(old, self.reduction).detach() >= self.limit
        masked = far & (log_ratio.detach() * advantages > 0)
        return torch.where(masked, 0.0, -advantages * log_ratio.exp()), masked


class ReinforceLoss(PolicyLoss):
    """The plain policy gradient; with one inner epoch all other losses have the same gradient."""

    def terms(self, log_ratio: Tensor, advantages: Tensor, new: Transition, old: Transition) -> tuple[Tensor, Tensor]:
        """See :meth:`PolicyLoss.terms`."""
        return -advantages * log_ratio, torch.zeros_like(log_ratio, dtype=torch.bool)


def statistics(log_ratio: Tensor, limited: Tensor) -> dict[str, Tensor]:
    """Statistics of a batch of log-ratios ``(batch,)``; see :meth:`PolicyLoss.loss`.

    Args:
        log_ratio: Log-density under the new policy minus that under the old.
        limited: True where the loss was limited.
    """
    ratio = log_ratio.exp()
    return {
        "ratio": ratio.mean(),
        "ratio_error": (ratio - 1).abs().max(),
        "above_one": (ratio > 1).float().mean(),
        "clip_fraction": limited.float().mean(),
        "approx_kl": 0.5 * log_ratio.square().mean(),
    }
