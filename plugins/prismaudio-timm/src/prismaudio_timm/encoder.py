"""The encoder of the video stream."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import timm
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn

from prismaudio.checkpoints import Configured, SkipInitialization, within
from prismaudio.encoders.base import Encoder
from prismaudio.errors import CheckpointError, one_line
from prismaudio.paths import expanded
from prismaudio.types import FrameSpec
from prismaudio.weight_files import fill, read_safetensors
from prismaudio.weight_folders import PublishedFolder, read_tensors

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip

RANDOM = "random"
MAX_FRAMES = 64
"""Frames that are embedded at a time; a longer clip takes no more memory."""


class TimmEncoder(Configured, nn.Module, Encoder):
    """Pooled features of frames by an image backbone of timm, before its classifier; each frame by itself.

    Frames are resized, cropped and normalised as timm does to evaluate the network.

    Args:
        name: Name of the network in timm with the tag of its weights; ``timm.list_models(pretrained=True)`` lists them.
        weights: A ``.safetensors`` file in timm's layout, a folder with ``config.json`` and ``model.safetensors``, or
            ``owner/name`` on the Hugging Face hub; None for ``timm/<name>`` there, ``"random"`` to draw them, and
            ``""`` when they are loaded afterwards, as a model folder does.
        revision: Branch, tag or commit of a hub repository.
        fps: Frames per second that are embedded, and so features per second.
    """

    rate_hz: float
    reads_plan = False

    def __init__(
        self,
        name: str = "vit_large_patch14_dinov2.lvd142m",
        weights: str | None = None,
        revision: str | None = None,
        fps: float = 4.0,
    ) -> None:
        super().__init__()
        within(0.1, 120, fps=fps)
        self.network = _created(name, weights, revision)
        self.has_weights = weights != ""
        data = resolve_model_data_config(self.network)
        self.transform = create_transform(**data, is_training=False)
        self.eval().requires_grad_(requires_grad=False)
        self.register_load_state_dict_pre_hook(_note_weights)
        self.dim = int(getattr(self.network, "head_hidden_size", None) or self.network.num_features)
        self.rate_hz = fps
        self.frame_spec = FrameSpec(fps, 2 * max(data["input_size"][1:]), keep_aspect_ratio=True)
        self.config = {"name": name, "weights": "", "revision": None, "fps": fps}  # weights are saved with the model

    @torch.no_grad()
    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Features ``(max(1, int(fps * duration_s)), dim)`` of the frames of the clip, of any rate and size.

        Raises:
            CheckpointError: There are no weights yet.
        """
        if not self.has_weights:
            raise CheckpointError("TimmEncoder has no weights yet; name their folder, or load a model that has them")
        weight = next(self.network.parameters())
        if clip.frames is None:
            return torch.zeros(0, self.dim, device=weight.device)
        rows = []
        for part in clip.frames_at(self.rate_hz).split(MAX_FRAMES):
            images = [Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in part.cpu()]
            rows.append(self.network(torch.stack([self.transform(image) for image in images]).to(weight)).float())
        return torch.cat(rows)


def _note_weights(module: nn.Module, *_: object) -> None:
    if isinstance(module, TimmEncoder):
        module.has_weights = True


def _created(name: str, weights: str | None, revision: str | None) -> Any:
    """A network without its classifier, with its weights unless they are drawn or loaded afterwards.

    Raises:
        CheckpointError: timm has no network of this name, or the weights cannot be had or do not fit it.
    """
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):  # one with a scheme, such as hf-hub:, would be downloaded
        close = ", ".join(timm.list_models(f"{architecture[:4]}*")[:3]) or "resnet50"
        raise CheckpointError(f"timm {timm.__version__} has no network {name[:80]!r}; expected one such as {close}")
    try:
        with nullcontext() if weights == RANDOM else SkipInitialization():
            network: Any = timm.create_model(name, pretrained=False, num_classes=0)
    except Exception as error:  # timm raises errors of many kinds
        raise CheckpointError(f"timm cannot create {name}: {one_line(error, 300)}") from error
    if weights in {RANDOM, ""}:
        return network
    classifier = network.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{head}." for head in ([classifier] if isinstance(classifier, str) else classifier))
    if weights is not None and weights.endswith(".safetensors") and expanded(weights).is_file():
        place = expanded(weights)
        stored = {key: value for key, value in read_safetensors(place).items() if not key.startswith(heads)}
    else:
        tagged = f"{architecture}.{tag or network.pretrained_cfg.get('tag')}"
        place = PublishedFolder(f"timm/{tagged}").find(weights, revision)
        stored = read_tensors(place, lambda key: None if key.startswith(heads) else key)
    fill(network, stored, place)
    return network
