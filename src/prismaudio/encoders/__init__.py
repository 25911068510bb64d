"""Encoders map clips and plans to condition features. The contract is :class:`prismaudio.encoders.base.Encoder`."""

from prismaudio.encoders.base import Encoder

__all__ = ["Encoder"]
