"""Transitions of the sampling chain: from latents at one time to those at the next one, with a known density.

Time 1 is noise, time 0 is data; the network's velocity is that of noise minus data. All kernels here are affine in
latents and velocity, so a kernel is three coefficients a step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from prismaudio.checkpoints import Configured
from prismaudio.errors import PrismAudioError

Reduction = Literal["mean", "sum"]
"""Reduction over the elements of a sample: the sum is the true log-density, the mean is what published code uses."""


@dataclass(frozen=True, eq=False)
class Transition:
    """A normal distribution over the next latents, with one standard deviation for all elements of a sample.

    Args:
        mean: Its mean ``(batch, ...)``, float32.
        std: Its standard deviation ``(batch,)``, float32; 0 where the step is deterministic, without a density.
        mask: True for the elements of a sample that count, bool, broadcast to the mean, such as ``(batch, 1, frames)``;
            padding has no density. None for all.

    Example:
        >>> transition = Transition(torch.zeros(1, 2), torch.ones(1))
        >>> transition.log_prob(torch.zeros(1, 2), "sum").exp() * 2 * torch.pi
        tensor([1.0000])
    """

    mean: Tensor
    std: Tensor
    mask: Tensor | None = None

    def sample(self, noise: Tensor) -> Tensor:
        """Latents ``(batch, ...)`` for standard normal noise of that shape."""
        return self.mean + _broadcast(self.std, self.mean) * noise.to(self.mean.dtype)

    def log_prob(self, latents: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Log-density ``(batch,)`` of latents, over their elements."""
        z = (latents.detach().to(self.mean.dtype) - self.mean) / _broadcast(self.std, self.mean)
        terms = -0.5 * z.square() - _broadcast(self.std.log(), self.mean) - 0.5 * math.log(2 * math.pi)
        return _over_elements(terms, reduction, self.mask)

    def shift(self, other: Transition) -> Tensor:
        """How far the mean is from another's, ``(batch,)``: the mean square of the distance in its deviations."""
        return _over_elements((self.mean - other.mean).square(), "mean", self.mask) / other.std.square()

    def kl(self, other: Transition, reduction: Reduction = "mean") -> Tensor:
        """Kullback-Leibler divergence ``(batch,)`` from another to this one, exact, also for unequal deviations."""
        ratio = self.std / other.std
        each = 0.5 * self.shift(other) + 0.5 * (ratio.square() - 1) - ratio.log()
        return each if reduction == "mean" else each * _n_elements(self.mean, self.mask)


@dataclass(frozen=True, eq=False)
class Step:
    """One step of an affine kernel: ``mean = keep * latents + push * velocity``.

    Args:
        keep: ``(batch,)``.
        push: ``(batch,)``; below 0, because time runs towards 0.
        std: Standard deviation ``(batch,)``.
    """

    keep: Tensor
    push: Tensor
    std: Tensor


class TransitionKernel(Configured, ABC):
    """The transition of one stochastic step; a subclass computes the three coefficients of a step.

    Attributes:
        stochastic_last_step: Whether the step that ends at time 0 may be stochastic. With the kernels of this module it
            may not: it would leave noise in the sample, or it has no noise and therefore no density.
    """

    stochastic_last_step: ClassVar[bool] = False

    @abstractmethod
    def step(self, t: Tensor, t_next: Tensor) -> Step:
        """The coefficients of a step, each ``(batch,)`` float64.

        Args:
            t: Times ``(batch,)`` at the start of the step, float64, above 0.
            t_next: Times at its end; ``t_next < t``.
        """

    def transition(self, velocity: Tensor, latents: Tensor, t: Tensor, t_next: Tensor) -> Transition:
        """The distribution of the next latents, computed in float32 or better whatever the precision of the network.

        Args:
            velocity: The (guided) velocity ``(batch, ...)`` at ``t``.
            latents: Latents at ``t``, of the same shape.
            t: Times ``(batch,)`` at the start of the step.
            t_next: Times ``(batch,)`` at its end; ``t_next < t``.
        """
        numbers = self.step(t.double(), t_next.double())
        dtype = torch.promote_types(latents.dtype, torch.float32)
        keep, push, std = (
            value.to(latents.device, dtype, non_blocking=latents.is_cuda)
            for value in (numbers.keep, numbers.push, numbers.std)
        )
        mean = _broadcast(keep, latents) * latents.to(dtype) + _broadcast(push, latents) * velocity.to(dtype)
        return Transition(mean, std)

    def kappa(self, t: Tensor, t_next: Tensor) -> Tensor:
        """How much a change of the velocity changes the log-density, ``(batch,)``: ``|d mean / d velocity| / std``."""
        numbers = self.step(t.double(), t_next.double())
        return (numbers.push.abs() / numbers.std).float()

    def entropy(self, t: Tensor, t_next: Tensor) -> Tensor:
        """Differential entropy of each element of the next latents in nats, ``(batch,)``; minus infinity without noise.

        Example:
            >>> EulerMaruyamaKernel(1.0, "dance").entropy(torch.tensor([1.0]), torch.tensor([0.0]))  # std 1
            tensor([1.4189])
        """
        return (self.step(t.double(), t_next.double()).std.log() + 0.5 * math.log(2 * math.pi * math.e)).float()


class OdeKernel(TransitionKernel):
    """Euler's deterministic step, as a transition without noise; it has no density."""

    def step(self, t: Tensor, t_next: Tensor) -> Step:
        """See :meth:`TransitionKernel.step`."""
        return Step(torch.ones_like(t), t_next - t, torch.zeros_like(t))


class EulerMaruyamaKernel(TransitionKernel):
    """The published kernels: a stochastic differential equation of the same marginals, by Euler and Maruyama.

    Args:
        noise_level: Scale of the noise, above 0: ``a`` of Flow-GRPO and PrismAudio, ``eta`` of DanceGRPO.
        schedule: How the noise depends on time ``t``: ``"flow"`` is ``a sqrt(t / (1 - t))``, with the end of the first
            step in the place of ``t`` in ``1 - t`` where that is 0; ``"dance"`` is constant.

    Source:
        Flow-GRPO (2505.05470), as in PrismAudio's released code; DanceGRPO (2505.07818).

    Example:
        >>> kernel = EulerMaruyamaKernel(0.7)
        >>> kernel.step(torch.tensor([0.5]), torch.tensor([0.25])).std  # 0.7 * sqrt(0.25)
        tensor([0.3500])
    """

    def __init__(self, noise_level: float = 0.7, schedule: Literal["flow", "dance"] = "flow") -> None:
        self.noise_level, self.schedule = _positive(noise_level), schedule

    def diffusion(self, t: Tensor, t_next: Tensor) -> Tensor:
        """Noise ``g`` for each unit of time, ``(batch,)``."""
        if self.schedule == "dance":
            return torch.full_like(t, self.noise_level)
        return self.noise_level * (t / (1 - torch.where(t == 1, t_next, t))).sqrt()

    def step(self, t: Tensor, t_next: Tensor) -> Step:
        """See :meth:`TransitionKernel.step`."""
        length, g = t - t_next, self.diffusion(t, t_next)
        drift = g.square() / (2 * t)
        return Step(1 - drift * length, -(1 + drift * (1 - t)) * length, g * length.sqrt())


class RhoKernel(TransitionKernel):
    """Keeps the estimate of the data fixed during a step and integrates the rest exactly: no excess noise at any step.

    With ``data = x - t v`` and ``noise = x + (1 - t) v``, the next latents are
    ``(1 - t') data + t' (rho noise + sqrt(1 - rho^2) xi)``; ``rho`` is 1 for the deterministic step.

    Args:
        noise_level: Scale of the noise, above 0: ``a`` for ``"flow"``, ``eta`` for the others; at most 1 for ``"cps"``.
        schedule: Where ``rho`` comes from: ``"flow"`` and ``"dance"`` are the equations that
            :class:`EulerMaruyamaKernel` approximates, ``"cps"`` is Flow-CPS, ``cos(eta pi / 2)`` at every step, which
            does not converge to the distribution of the data with more steps.

    Source:
        Own derivation; ``rho = exp(-1/2 integral of g^2 / r^2)``. Flow-CPS: 2509.05952.

    Example:
        >>> kernel = RhoKernel(1.0)
        >>> kernel.step(torch.tensor([1.0]), torch.tensor([0.75])).std  # the noise is all new in the first step
        tensor([0.7500])
    """

    def __init__(self, noise_level: float = 0.7, schedule: Literal["flow", "dance", "cps"] = "flow") -> None:
        self.noise_level, self.schedule = _positive(noise_level), schedule
        if schedule == "cps" and noise_level > 1:
            raise PrismAudioError(f"noise_level of schedule cps is {noise_level}; give it at most 1")

    def log_rho(self, t: Tensor, t_next: Tensor) -> Tensor:
        """Logarithm of how much of the noise is kept, ``(batch,)``."""
        if self.schedule == "cps":
            return torch.full_like(t, math.log(math.cos(self.noise_level * math.pi / 2)))
        half = self.noise_level**2 / 2
        if self.schedule == "dance":
            return half * (1 / t - 1 / t_next)
        return half * (torch.log(t_next * (1 - t)) - torch.log(t * (1 - t_next)))

    def step(self, t: Tensor, t_next: Tensor) -> Step:
        """See :meth:`TransitionKernel.step`."""
        log_rho = self.log_rho(t, t_next)
        kept, fresh = t_next * log_rho.exp(), t_next * (-torch.expm1(2 * log_rho)).sqrt()
        return Step(1 - t_next + kept, kept * (1 - t) - (1 - t_next) * t, fresh)


def _positive(noise_level: float) -> float:
    if not noise_level > 0:
        raise PrismAudioError(f"noise_level of a kernel is {noise_level}; give it more than 0, or use OdeKernel")
    return noise_level


def _broadcast(numbers: Tensor, latents: Tensor) -> Tensor:
    return numbers.reshape(-1, *[1] * (latents.dim() - 1))


def _over_elements(terms: Tensor, reduction: Reduction, mask: Tensor | None) -> Tensor:
    flat = (terms if mask is None else terms * mask).flatten(1)
    if reduction == "sum":
        return flat.sum(1)
    return flat.mean(1) if mask is None else flat.sum(1) / _n_elements(terms, mask)


def _n_elements(terms: Tensor, mask: Tensor | None) -> int | Tensor:
    """Number of elements of a sample, or of each sample ``(batch,)``."""
    return terms[0].numel() if mask is None else mask.expand_as(terms).flatten(1).sum(1)
