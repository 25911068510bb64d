"""Ratings by the package of the authors, ``audiobox-aesthetics``, of weights that are read without executing code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.checkpoints import SkipInitialization
from prismaudio.downloads import official_package
from prismaudio.weight_files import fill
from prismaudio_audiobox.network import AXES
from prismaudio_audiobox.rating import AT_ONCE, Rater, check_audio
from prismaudio_audiobox.weights import published_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

PLUGIN = "prismaudio-audiobox"


class OfficialRater(Rater):
    """Rates audio by ``AesPredictor`` of the authors, with their resampling, chunks, masks, network and scales.

    Their loading of ``checkpoint.pt``, which executes code of the file, is not used.

    Args:
        weights: The published weights; see :func:`prismaudio_audiobox.weights.load_published`.
        precision: Precision of the network, ``"fp32"`` or ``"bf16"``.

    Raises:
        BrokenPluginError: The package cannot be imported.
        CheckpointError: The weights cannot be found, or are those of another network.

    Source:
        ``audiobox_aesthetics.infer`` of https://github.com/facebookresearch/audiobox-aesthetics, version 0.0.4.
    """

    def __init__(self, weights: str | None = None, precision: str = "fp32") -> None:
        inference = official_package("audiobox_aesthetics.infer", PLUGIN)
        tensors, scales, path = published_weights(weights)
        stated = {axis: {"mean": scales[axis][0], "std": scales[axis][1]} for axis in AXES}
        with torch.random.fork_rng(devices=[]), SkipInitialization():
            network = inference.AesMultiOutput(proj_num_layer=5, proj_ln=True, target_transform=stated)
        if precision == "bf16":  # their constructor takes it, but never turns it on
            network.precision, network.enable_autocast = torch.bfloat16, True
        fill(network, tensors, path)
        super().__init__(network=network, precision=precision, scales=scales)
        without_loading = {"setup_model": lambda _: None}
        self.predictor = type("Predictor", (inference.AesPredictor,), without_loading)(checkpoint_pth=None)
        self.predictor.model = self._in_parts
        self.predictor.target_transform = {axis: inference.Normalize(**stated[axis]) for axis in AXES}

    @torch.no_grad()
    def rate(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Ratings ``(batch, 4)``; see :meth:`Rater.rate`."""
        check_audio(audio)
        self.network.to(audio.device)
        self.predictor.device = audio.device
        rows = self.predictor.forward([{"path": row, "sample_rate": sample_rate_hz} for row in audio.float()])
        return torch.tensor([[row[axis] for axis in AXES] for row in rows], device=audio.device)

    def _in_parts(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Predictions for all chunks, some at a time; theirs are made at once, whatever the memory."""
        size = AT_ONCE.get(batch["wav"].device.type, 8)
        parts = zip(batch["wav"].split(size), batch["mask"].split(size), strict=True)
        found: list[Any] = [self.network({"wav": wav, "mask": mask}) for wav, mask in parts]
        return {axis: torch.cat([part[axis] for part in found]).float() for axis in AXES}
