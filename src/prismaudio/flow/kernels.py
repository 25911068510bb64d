"""Transitions of the sampling chain: from latents at one time to those at a later one, with a known density.

Time 1 is noise, time 0 is data; the network's velocity is that of noise minus data. All kernels here are affine in
latents and velocity, so a kernel is three numbers a step.
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
"""Over the elements of a sample: the sum is the true density, the mean its n-th root, as all published code has it."""


@dataclass(frozen=True, eq=False)
class Transition:
    """A normal distribution over the next latents, with one standard deviation for all elements of a sample.

    Args:
        mean: Its mean ``(batch, ...)``, float32.
        std: Its standard deviation ``(batch,)``, float32; 0 where the step is deterministic, without a density.

    Example:
        >>> transition = Transition(torch.zeros(1, 2), torch.ones(1))
        >>> transition.log_prob(torch.zeros(1, 2), "sum").exp() * 2 * torch.pi
        tensor([1.0000])
    """

    mean: Tensor
    std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Latents ``(batch, ...)`` for standard normal noise of that shape."""
        return self.mean + _beside(self.std, self.mean) * noise.to(self.mean.dtype)

    def log_prob(self, latents: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Log-density ``(batch,)`` of latents, over their elements."""
        z = (latents.detach().to(self.mean.dtype) - self.mean) / _beside(self.std, self.mean)
        terms = -0.5 * z.square() - _beside(self.std.log(), self.mean) - 0.5 * math.log(2 * math.pi)
        return _over_elements(terms, reduction)

    def shift(self, other: Transition) -> Tensor:
        """How far the mean is from another's, ``(batch,)``: the mean square of the distance in its deviations."""
        return _over_elements((self.mean - other.mean).square(), "mean") / other.std.square()

    def kl(self, other: Transition, reduction: Reduction = "mean") -> Tensor:
        """Kullback-Leibler divergence ``(batch,)`` from another to this one, exact, also for unequal deviations."""
        ratio = self.std / other.std
        each = 0.5 * self.shift(other) + 0.5 * (ratio.square() - 1) - ratio.log()
        return each if reduction == "mean" else each * self.mean[0].numel()


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
    """How one step of a random trajectory is made; a subclass gives the three numbers of a step.

    Attributes:
        random_to_the_end: Whether the step that ends at time 0 may be random, too. With the kernels here it is not: it
            would leave noise in the sample, or has no noise and so no density.
    """

    random_to_the_end: ClassVar[bool] = False

    @abstractmethod
    def step(self, now: Tensor, later: Tensor) -> Step:
        """The numbers of a step, each ``(batch,)`` float64.

        Args:
            now: Times ``(batch,)`` at its beginning, float64, above 0.
            later: Times at its end, below.
        """

    def transition(self, velocity: Tensor, latents: Tensor, now: Tensor, later: Tensor) -> Transition:
        """The distribution of the next latents, computed in float32 or better, whatever the network computes in.

        Args:
            velocity: The (guided) velocity ``(batch, ...)`` at ``now``.
            latents: Latents of that shape.
            now: Times ``(batch,)``.
            later: Times ``(batch,)`` at the end of the step; ``later < now``.
        """
        numbers = self.step(now.double(), later.double())
        dtype = torch.promote_types(latents.dtype, torch.float32)
        keep, push, std = (
            value.to(latents.device, dtype, non_blocking=latents.is_cuda)
            for value in (numbers.keep, numbers.push, numbers.std)
        )
        mean = _beside(keep, latents) * latents.to(dtype) + _beside(push, latents) * velocity.to(dtype)
        return Transition(mean, std)

    def kappa(self, now: Tensor, later: Tensor) -> Tensor:
        """How much a change of the velocity changes the log-density, ``(batch,)``: ``|d mean / d velocity| / std``."""
        numbers = self.step(now.double(), later.double())
        return (numbers.push.abs() / numbers.std).float()


class OdeKernel(TransitionKernel):
    """Euler's deterministic step, as a transition without noise; it has no density."""

    def step(self, now: Tensor, later: Tensor) -> Step:
        """See :meth:`TransitionKernel.step`."""
        return Step(torch.ones_like(now), later - now, torch.zeros_like(now))


class EulerMaruyamaKernel(TransitionKernel):
    """The published kernels: a stochastic differential equation of the same marginals, by Euler and Maruyama.

    Args:
        noise: How much, above 0: ``a`` of Flow-GRPO and PrismAudio, ``eta`` of DanceGRPO.
        schedule: How the noise depends on time ``t``: ``"flow"`` is ``a sqrt(t / (1 - t))``, with the end of the first
            step in the place of ``t`` in ``1 - t`` where that is 0; ``"dance"`` is constant.

    Source:
        Flow-GRPO (2505.05470), as in PrismAudio's released code; DanceGRPO (2505.07818).

    Example:
        >>> kernel = EulerMaruyamaKernel(0.7)
        >>> kernel.step(torch.tensor([0.5]), torch.tensor([0.25])).std  # 0.7 * sqrt(0.25)
        tensor([0.3500])
    """

    def __init__(self, noise: float = 0.7, schedule: Literal["flow", "dance"] = "flow") -> None:
        self.noise, self.schedule = _positive(noise), schedule

    def diffusion(self, now: Tensor, later: Tensor) -> Tensor:
        """Noise ``g`` for each unit of time, ``(batch,)``."""
        if self.schedule == "dance":
            return torch.full_like(now, self.noise)
        return self.noise * (now / (1 - torch.where(now == 1, later, now))).sqrt()

    def step(self, now: Tensor, later: Tensor) -> Step:
        """See :meth:`TransitionKernel.step`."""
        length, g = now - later, self.diffusion(now, later)
        drift = g.square() / (2 * now)
        return Step(1 - drift * length, -(1 + drift * (1 - now)) * length, g * length.sqrt())


class RhoKernel(TransitionKernel):
    """Keeps the estimate of the data fixed during a step and integrates the rest exactly: no excess noise at any step.

    With ``data = x - t v`` and ``noise = x + (1 - t) v``, the next latents are
    ``(1 - t') data + t' (rho noise + sqrt(1 - rho^2) xi)``; ``rho`` is 1 for the deterministic step.

    Args:
        noise: How much, above 0: ``a`` for ``"flow"``, ``eta`` for the others; at most 1 for ``"cps"``.
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

    def __init__(self, noise: float = 0.7, schedule: Literal["flow", "dance", "cps"] = "flow") -> None:
        self.noise, self.schedule = _positive(noise), schedule
        if schedule == "cps" and noise > 1:
            raise PrismAudioError(f"the noise of schedule cps is {noise}; give it at most 1")

    def log_rho(self, now: Tensor, later: Tensor) -> Tensor:
        """Logarithm of how much of the noise is kept, ``(batch,)``."""
        if self.schedule == "cps":
            return torch.full_like(now, math.log(math.cos(self.noise * math.pi / 2)))
        half = self.noise**2 / 2
        if self.schedule == "dance":
            return half * (1 / now - 1 / later)
        return half * (torch.log(later * (1 - now)) - torch.log(now * (1 - later)))

    def step(self, now: Tensor, later: Tensor) -> Step:
        """See :meth:`TransitionKernel.step`."""
        log_rho = self.log_rho(now, later)
        kept, fresh = later * log_rho.exp(), later * (-torch.expm1(2 * log_rho)).sqrt()
        return Step(1 - later + kept, kept * (1 - now) - (1 - later) * now, fresh)


def _positive(noise: float) -> float:
    if not noise > 0:
        raise PrismAudioError(f"the noise of a kernel is {noise}; give it more than 0, or use OdeKernel")
    return noise


def _beside(numbers: Tensor, latents: Tensor) -> Tensor:
    return numbers.reshape(-1, *[1] * (latents.dim() - 1))


def _over_elements(terms: Tensor, reduction: Reduction) -> Tensor:
    flat = terms.flatten(1)
    return flat.mean(1) if reduction == "mean" else flat.sum(1)
