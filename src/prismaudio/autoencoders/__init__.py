"""Autoencoders between stereo audio and latents. The contract is :class:`prismaudio.autoencoders.base.Autoencoder`."""

from prismaudio.autoencoders.base import Autoencoder

__all__ = ["Autoencoder"]
