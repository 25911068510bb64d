"""What all checks of components have in common: one line that says what failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from prismaudio.errors import CheckpointError, NotApplicableError, PrismAudioError


class NonconformingError(PrismAudioError, AssertionError):
    """A component does not keep its contract."""


class NotTriedError(NonconformingError):
    """A component cannot judge the example; another is needed to see whether it keeps its contract."""


class Check:
    """Judges one component; what it finds begins with the component's name.

    Args:
        subject: The component.

    Example:
        >>> Check(3).that(False, "is no component")
        Traceback (most recent call last):
        prismaudio.testing.check.NonconformingError: int: is no component
    """

    def __init__(self, subject: object) -> None:
        self.name = type(subject).__name__

    def that(self, true: bool | Tensor, otherwise: str) -> None:  # noqa: FBT001  (reads as a sentence)
        """Something must be so.

        Raises:
            NonconformingError: It is not.
        """
        if not bool(true):
            raise NonconformingError(f"{self.name}: {otherwise}")

    def close(self, found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
        """Two tensors must be the same, NaN where the other is NaN.

        Args:
            found: What was computed.
            expected: What it must be.
            tolerance: Largest difference, of numbers up to 1; a share of larger ones.
            what: What differs from what, as in "rows differ from each other".
        """
        found, expected = (torch.as_tensor(value).detach().cpu().double() for value in (found, expected))
        self.that(found.shape == expected.shape, f"{what}: {tuple(found.shape)} against {tuple(expected.shape)}")
        differences = torch.where(found.isnan() & expected.isnan(), 0.0, (found - expected).abs())
        differences = torch.where(found == expected, 0.0, differences)  # infinite ones, too
        worst = float((differences / expected.abs().clamp(min=1)).amax()) if expected.numel() else 0.0
        self.that(worst <= tolerance, f"{what} by {worst:.3g}, allowed {tolerance:g}")

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Whatever goes wrong meanwhile is told in one line.

        Raises:
            NonconformingError: Something did.
            CheckpointError: Weights are missing.
        """
        try:
            yield
        except (NonconformingError, CheckpointError):  # missing weights are told as they are
            raise
        except NotApplicableError as error:
            raise NonconformingError(f"{self.name}: {what}: it says that this cannot be judged: {error}") from error
        except Exception as error:
            text = " ".join(str(error).split())
            raise NonconformingError(f"{self.name}: {what}: {type(error).__name__}: {text}") from error
