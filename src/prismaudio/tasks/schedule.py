"""The optimiser and learning rate that the stages share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule


def adamw_with_cosine(module: LightningModule, learning_rate: float, weight_decay: float, warmup_steps: int) -> Any:
    """AdamW with a linear warm-up and a cosine decay to 2 % over the whole run, stepped with the optimiser.

    Args:
        module: Its trainable parameters are optimised; its trainer says how many steps the run has.
        learning_rate: Peak learning rate.
        weight_decay: Decay of the weights of two or more axes; gains and biases have none.
        warmup_steps: Steps until the peak.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, learning_rate, betas=(0.9, 0.98))
    total = max(int(module.trainer.estimated_stepping_batches), warmup_steps + 1)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        progress = min((step - warmup_steps) / (total - warmup_steps), 1.0)
        return 0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
