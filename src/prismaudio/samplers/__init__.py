"""Samplers: noise and a velocity to latents. The contract is :class:`prismaudio.samplers.base.Sampler`."""

from prismaudio.samplers.base import Sampler

__all__ = ["Sampler"]
