"""A guard against rewards that are followed at the cost of what they stand for."""

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
    """Looks at each validation whether held-out values fall while the rewards that are followed rise.

    A value has fallen when it is more than ``tolerance`` below its best so far. When that was so at ``patience``
    validations in a row, the divergence from the model at the beginning counts ``raise_kl`` times as much from then
    on or, without that, training stops. Rewards have risen when the changes since the first validation, weighted as the
    rewards are now, add up to more than 0. The first validation is that of the model before training where
    ``trainer.num_sanity_val_steps`` lets it see every clip (-1), and the first one in training elsewhere.

    Args:
        tolerance: Fall that is put down to chance, in the unit of the value.
        patience: Validations in a row.
        watch: Logged values to watch; higher is better. None for all ``val_held_out/…``.
        raise_kl: Factor of the task's ``kl`` each time; None to stop instead.
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
        """Tells the guards of one run apart."""
        return self._generate_state_key(watch=self.watch, raises=self.raise_kl is not None)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See that there is something to watch, and something to do.

        Raises:
            RecipeError: There is not.
        """
        task = expect(pl_module, FollowsRewards, "HeldOutGuard")
        if self.watch is None and not task.held_out:
            raise RecipeError("HeldOutGuard has nothing to watch: give the task held_out rewards, or name values")
        if self.raise_kl is not None and not task.kl:
            raise RecipeError("raise_kl needs a kl above 0 in the task, for which it keeps the model at the beginning")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise what had been raised when the checkpoint was made."""
        if self._restored != 1:
            expect(pl_module, FollowsRewards, "HeldOutGuard").raise_kl(self._restored)
            self._restored = 1.0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look."""
        if trainer.sanity_checking and trainer.num_sanity_val_batches != trainer.num_val_batches:
            return  # some clips are not to be compared with all
        task = expect(pl_module, FollowsRewards, "HeldOutGuard")
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        names = self.watch or [name for name in values if name.startswith("val_held_out/")]
        if missing := [name for name in names if name not in values]:
            raise RecipeError(f"HeldOutGuard watches {', '.join(missing)}, which validation does not log")
        weights = task.weights_now()
        rewards = {name: values.get(f"val_reward/{name}", math.nan) for name in weights}
        rewards = {name: value for name, value in rewards.items() if not math.isnan(value)}  # of what it can judge
        self._first = rewards | self._first
        risen = sum(weights[name] * (value - self._first[name]) for name, value in rewards.items()) > 0
        fallen = [name for name in names if values[name] < self._best.get(name, values[name]) - self.tolerance]
        self._best |= {name: max(values[name], self._best.get(name, values[name])) for name in names}
        self._fallen = self._fallen + 1 if fallen and risen else 0
        if self._fallen >= self.patience:
            self._fallen = 0
            self._act(trainer, task, fallen)

    def _act(self, trainer: Trainer, task: FollowsRewards, fallen: list[str]) -> None:
        said = f"{', '.join(fallen)} fell while the rewards rose"
        if self.raise_kl is None:
            LOG.warning("%s: training stops after %d updates", said, trainer.global_step)
            trainer.should_stop = True
        else:
            task.raise_kl(self.raise_kl)
            self._raised *= self.raise_kl
            LOG.warning("%s: kl is %g from now on", said, task.kl)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"best": self._best, "first": self._first, "fallen": self._fallen, "raised": self._raised}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self._best, self._first, self._fallen = state_dict["best"], state_dict["first"], state_dict["fallen"]
        self._raised = self._restored = state_dict["raised"]
