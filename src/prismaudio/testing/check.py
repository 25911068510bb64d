"""Assertions shared by all component checks; a failure is reported in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from prismaudio.errors import CheckpointError, NotApplicableError, PrismAudioError


class NonconformingError(PrismAudioError, AssertionError):
    """A component violates its contract."""


class NotTriedError(NonconformingError):
    """A component cannot process the example; pass a suitable one to check its contract."""


class Check:
    """Assertions on one component; messages begin with the name of its class.

    Args:
        subject: The component.

    Example:
        >>> Check(3).require(False, "it is not a component")
        Traceback (most recent call last):
        prismaudio.testing.check.NonconformingError: int: it is not a component
    """

    def __init__(self, subject: object) -> None:
        self.name = type(subject).__name__

    def require(self, condition: bool | Tensor, message: str) -> None:  # noqa: FBT001  (like assert)
        """Assert that a condition holds.

        Args:
            condition: The condition.
            message: What is wrong if it does not hold.

        Raises:
            NonconformingError: It does not hold.
        """
        if not bool(condition):
            raise NonconformingError(f"{self.name}: {message}")

    def close(self, found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
        """Assert that two tensors are close; NaN equals NaN.

        Args:
            found: The computed tensor.
            expected: The expected tensor.
            tolerance: Maximum difference, absolute for values up to 1 and relative for larger ones.
            what: Start of the message, such as "rows differ from each other".

        Raises:
            NonconformingError: They are not close.
        """
        found, expected = (torch.as_tensor(value).detach().cpu().double() for value in (found, expected))
        self.require(
            found.shape == expected.shape, f"{what}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
        )
        differences = torch.where(found.isnan() & expected.isnan(), 0.0, (found - expected).abs())
        differences = torch.where(found == expected, 0.0, differences)  # includes infinities
        worst = float((differences / expected.abs().clamp(min=1)).amax()) if expected.numel() else 0.0
        self.require(worst <= tolerance, f"{what} by {worst:.3g}, allowed {tolerance:g}")

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Convert exceptions of the block to one-line messages.

        Args:
            what: What the block does, for the message.

        Raises:
            NonconformingError: The block raised an exception.
            CheckpointError: Weights are missing.
        """
        try:
            yield
        except (NonconformingError, CheckpointError):  # raised unchanged
            raise
        except NotApplicableError as error:
            raise NonconformingError(f"{self.name}: {what}: it raises NotApplicableError: {error}") from error
        except Exception as error:
            text = " ".join(str(error).split())
            raise NonconformingError(f"{self.name}: {what}: {type(error).__name__}: {text}") from error
