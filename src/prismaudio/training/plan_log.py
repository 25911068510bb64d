"""Plans that a planner wrote during validation, in the logger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from prismaudio.media import replacing
from prismaudio.plan.sections import tag

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lightning.pytorch import Trainer

    from prismaudio.plan import Plan

COLUMNS = ["clip", "section", "written", "reference"]


@dataclass(frozen=True)
class WrittenPlan:
    """A plan beside the reference plan of its clip.

    Args:
        name: Name of the clip.
        plan: The plan that was written.
        reference: The reference plan.
    """

    name: str
    plan: Plan
    reference: Plan

    def rows(self) -> list[list[str]]:
        """Name, section, written text and reference text of each section, and the warnings of the plan."""
        names = dict.fromkeys([*self.reference, *self.plan])
        rows = [[self.name, name, self.plan.get(name) or "", self.reference.get(name) or ""] for name in names]
        return [*rows, *([self.name, "warning", warning, ""] for warning in self.plan.warnings)]

    def text(self) -> str:
        """The plan in Markdown, section by section, with the reference below each.

        Example:
            >>> from prismaudio.plan import Plan
            >>> print(WrittenPlan("a", Plan({"semantic": "A cat."}), Plan({"semantic": "A dog."})).text())
            **a**
            <BLANKLINE>
            - `<Semantic>` A cat.
                - reference: A dog.
        """
        lines = [f"**{self.name}**", ""]
        for _, section, written, reference in self.rows():
            if section == "warning":
                lines.append(f"- {written}")
            else:
                lines += [
                    f"- `{tag(section)}` {written or '(not written)'}",
                    f"    - reference: {reference or '(none)'}",
                ]
        return "\n".join(lines)


def log_plans(trainer: Trainer, plans: Sequence[WrittenPlan], folder: Path) -> None:
    """Log plans to TensorBoard and Weights & Biases; without them, write ``plans/stepN.md`` in the run's folder."""
    step = trainer.global_step
    loggers = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger | WandbLogger)]
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_text("plans", columns=COLUMNS, data=[row for plan in plans for row in plan.rows()], step=step)
            continue
        writer: Any = getattr(logger, "experiment")  # noqa: B009 - its type is TensorBoard's
        for plan in plans:
            writer.add_text(f"plans/{plan.name}", plan.text(), step)
    if not loggers:
        path = folder / "plans" / f"step{step:07d}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text("\n\n".join(plan.text() for plan in plans) + "\n", encoding="utf-8")
