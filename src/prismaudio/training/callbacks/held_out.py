"""A guard against reward hacking: optimized rewards that rise while held-out ones fall."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback

from prismaudio.errors import RecipeError
from prismaudio.training.contracts import FollowsRewards, expect

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

LOG = logging.getLogger("prismaudio.training.callbacks")


class HeldOutGuard(Callback):
    """Checks at each validation whether held-out values fall while the optimized rewards rise.

    A value has fallen when it is more than ``tolerance`` below its best value so far. After ``patience`` such
    validations in a row, ``kl_coef`` of the task is multiplied by ``raise_kl`` or, without it, training stops. Rewards
    have risen when the sum of their changes since the first validation, with their current weights, is above 0. The
    first validation is that of the model before training where ``trainer.num_sanity_val_steps`` is -1, and the first
    one in training otherwise.

    Args:
        tolerance: Decrease that is ignored, in the unit of the value.
        patience: Validations in a row.
        watch: Logged values to watch; higher is better. None for all ``val_held_out/…``.
        raise_kl: Factor of the task's ``kl_coef`` each time; None to stop instead.
    """

    def __init__(
        self, tolerance: float = 0.01, patience: int = 2, watch: list[str] | None = None, raise_kl: float | None = None
    ) -> None:
        if patience < 1 or tolerance < 0 or (raise_kl is not None and raise_kl <= 1):
            raise RecipeError("expected a patience of 1 or more, a tolerance of 0 or more and a raise_kl above 1")
        self.tolerance, self.patience, self.watch, self.raise_kl = tolerance, patience, watch, raise_kl
        self._best: dict[str, float] = {}
        self._first: dict[str, float] = {}
        self._fallen = 0
        self._raised = self._restored = 1.0

    @property
    def state_key(self) -> str:
        """Key of the state, which distinguishes the guards of a run."""
        return self._generate_state_key(watch=self.watch, raises=self.raise_kl is not None)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Validate the options against the task.

        Raises:
            RecipeError: There is nothing to watch, or no divergence to raise.
        """
        task = expect(pl_module, FollowsRewards, "HeldOutGuard")
        if self.watch is None and not task.held_out:
            raise RecipeError("HeldOutGuard has nothing to watch: give the task held_out rewards, or name values")
        if self.raise_kl is not None and not task.kl_coef:
            raise RecipeError("raise_kl needs a kl_coef above 0 in the task, which then keeps a reference model")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the factor that the checkpoint was written with."""
        if self._restored != 1:
            expect(pl_module, FollowsRewards, "HeldOutGuard").raise_kl(self._restored)
            self._restored = 1.0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the held-out values and the rewards with earlier validations."""
        if trainer.sanity_checking and trainer.num_sanity_val_batches != trainer.num_val_batches:
            return  # a part of the clips cannot be compared with all of them
        task = expect(pl_module, FollowsRewards, "HeldOutGuard")
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        names = self.watch or [name for name in values if name.startswith("val_held_out/")]
        if missing := [name for name in names if name not in values]:
            raise RecipeError(f"HeldOutGuard watches {', '.join(missing)}, which validation does not log")
        weights = task.weights_now()
        rewards = {name: values.get(f"val_reward/{name}", math.nan) for name in weights}
        rewards = {name: value for name, value in rewards.items() if not math.isnan(value)}  # of those that were scored
        self._first = rewards | self._first
        risen = sum(weights[name] * (value - self._first[name]) for name, value in rewards.items()) > 0
        fallen = [name for name in names if values[name] < self._best.get(name, values[name]) - self.tolerance]
        self._best |= {name: max(values[name], self._best.get(name, values[name])) for name in names}
        self._fallen = self._fallen + 1 if fallen and risen else 0
        if self._fallen >= self.patience:
            self._fallen = 0
            self._act(trainer, task, fallen)

    def _act(self, trainer: Trainer, task: FollowsRewards, fallen: list[str]) -> None:
        text = f"{', '.join(fallen)} fell while the rewards rose"
        if self.raise_kl is None:
            LOG.warning("%s: training stops after %d updates", text, trainer.global_step)
            trainer.should_stop = True
        else:
            task.raise_kl(self.raise_kl)
            self._raised *= self.raise_kl
            LOG.warning("%s: kl_coef is now %g", text, task.kl_coef)

    def state_dict(self) -> dict[str, Any]:
        """State of the comparison."""
        return {"best": self._best, "first": self._first, "fallen": self._fallen, "raised": self._raised}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of the comparison."""
        self._best, self._first, self._fallen = state_dict["best"], state_dict["first"], state_dict["fallen"]
        self._raised = self._restored = state_dict["raised"]
