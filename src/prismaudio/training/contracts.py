"""What the command line and callbacks expect of tasks and data modules, so that foreign ones can offer it, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.components import Dimension


@runtime_checkable
class UsesDimensions(Protocol):
    """A task or a data module that works with the perceptual dimensions that are installed.

    ``prismaudio fit`` hands them in before the run begins; in a script, call it yourself.
    """

    def use_dimensions(self, dimensions: Sequence[Dimension]) -> None:
        """Take the dimensions, the core's and those of plugins, in the order of a plan's sections."""
