"""ImageBind: audio and frames in one embedding space."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prismaudio.audio.resample import sinc_resample
from prismaudio.downloads import PublishedFile
from prismaudio.errors import NotApplicableError
from prismaudio_av_benchmark.embedder import AudioEmbedder, Block, load
from prismaudio_av_benchmark.front_ends import WINDOW, at_least, kaldi_fbank

if TYPE_CHECKING:
    from prismaudio.types import Clip

FILE = PublishedFile(
    "imagebind_huge.pth",
    size_mb=4_800,
    licence="CC BY-NC-SA 4.0, as of the code: not for commercial use",
    page="https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth",
)
RATE_HZ, N_MELS, N_FRAMES = 16_000, 128, 204
CLIPS, CLIP_S = 3, 2
"""Clips of audio that are embedded, and how long each is."""
MEAN, SPREAD = -4.268, 9.138
FPS, SIZE = 0.5, 224
"""Frames per second, and height and width of a crop."""
COLOUR_MEAN = (0.48145466, 0.4578275, 0.40821073)
COLOUR_SPREAD = (0.26862954, 0.26130258, 0.27577711)
AT_ONCE = 3
"""Crops per forward pass, which bounds the memory."""
OTHERS = re.compile(r"modality_\w+\.(text|depth|thermal|imu)\.")
"""Tensors of the file that are not used: those of the other modalities."""


@dataclass(frozen=True)
class Tower:
    """Sizes of an encoder of ImageBind.

    Args:
        dim: Width.
        depth: Number of blocks.
        num_heads: Number of heads.
    """

    dim: int
    depth: int
    num_heads: int


AUDIO, VISION = Tower(768, 12, 12), Tower(1280, 32, 16)


class ImageBind(AudioEmbedder):
    """The encoders of audio and frames of ImageBind.

    Args:
        audio: Sizes of the audio encoder.
        vision: Sizes of the encoder of frames.
        dim: Dimension of the embeddings.

    Source:
        ``imagebind_huge`` of facebookresearch/ImageBind (CC BY-NC-SA 4.0), from its architecture alone; Girdhar et al.,
        arXiv 2305.05665. Clips, frames and crops are those of av-benchmark at 050a5cdb with pytorchvideo at ae9cfc6e,
        which pytorchvideo 0.1.5 cuts differently: audio is three clips of 2 s, the first at the start and the last at
        the end, of which only the left channel is heard.
    """

    def __init__(self, audio: Tower = AUDIO, vision: Tower = VISION, dim: int = 1024) -> None:
        super().__init__()
        self.dim = dim
        patches = nn.Conv2d(1, audio.dim, 16, 10, bias=False), nn.LayerNorm(audio.dim)
        self.audio = _Encoder(audio, patches[0], 12 * 19, dim, patches[1], bias_kv=True)
        pairs = nn.Conv3d(3, vision.dim, (2, 14, 14), (2, 14, 14), bias=False)
        self.vision = _Encoder(vision, pairs, 16 * 16, dim, pre_norm=nn.LayerNorm(vision.dim, eps=1e-6))
        self.register_buffer("log_scale", torch.tensor(math.log(20.0)))
        self.log_scale: Tensor

    def compute(self, audio: Tensor, sample_rate_hz: int, length_s: float | None = None) -> dict[str, Tensor]:
        """``audio``: the embedding of audio ``(1, 1024)``, the mean of its clips, of the whole audio in any case."""
        found = F.normalize(self.audio(log_mel_clips(audio, sample_rate_hz)[:, None]), dim=-1)
        return {"audio": (self.log_scale.exp().clamp(max=100) * found).mean(0, keepdim=True)}

    @torch.no_grad()
    def embed_frames(self, frames: Tensor) -> Tensor:
        """The embedding of frames ``(1, 1024)``, the mean of all pairs of frames and crops, on the CPU.

        Args:
            frames: Frames uint8 ``(time, 3, height, width)``, 0.5 per second.
        """
        pairs = crops(frames).to(next(self.parameters()).device)
        found = torch.cat([self.vision(part) for part in pairs.split(AT_ONCE)])
        return F.normalize(found, dim=-1).mean(0, keepdim=True).cpu()


class _Encoder(nn.Module):
    """A transformer over patches whose first token is the embedding."""

    def __init__(
        self,
        tower: Tower,
        stem: nn.Module,
        patches: int,
        dim: int,
        stem_norm: nn.Module | None = None,
        pre_norm: nn.Module | None = None,
        *,
        bias_kv: bool = False,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stem_norm, self.pre_norm = stem_norm or nn.Identity(), pre_norm or nn.Identity()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, tower.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + patches, tower.dim))
        self.blocks = nn.Sequential(*(Block(tower.dim, tower.num_heads, bias_kv=bias_kv) for _ in range(tower.depth)))
        self.norm = nn.LayerNorm(tower.dim, eps=1e-6)
        self.projection = nn.Linear(tower.dim, dim, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        """Embeddings ``(batch, dim)``, not normalised, of levels or frames ``(batch, channels, ...)``."""
        patches = self.stem_norm(self.stem(values).flatten(2).transpose(1, 2))
        tokens = torch.cat([self.cls_token.expand(len(values), -1, -1), patches], 1) + self.pos_embed
        embedding: Tensor = self.projection(self.norm(self.blocks(self.pre_norm(tokens))[:, 0]))
        return embedding


def log_mel_clips(audio: Tensor, sample_rate_hz: int) -> Tensor:
    """Normalised log-mel levels ``(clips, 128, 204)`` of three clips of audio ``(channels, samples)``.

    The mean of all channels of a clip is removed, and its first channel is heard. Audio shorter than a clip is
    followed by zeros.
    """
    samples = sinc_resample(audio.float(), sample_rate_hz, RATE_HZ)
    longest_start_s = max(samples.shape[-1] / RATE_HZ - CLIP_S, 0)
    found = []
    for index in range(CLIPS):
        start_s = longest_start_s * index / (CLIPS - 1)
        clip = samples[:, int(start_s * RATE_HZ) : int((start_s + CLIP_S) * RATE_HZ)]
        levels = kaldi_fbank(at_least((clip - clip.mean())[0], WINDOW), N_MELS)[:N_FRAMES]
        found.append(F.pad(levels, (0, 0, 0, N_FRAMES - len(levels))).T)
    return (torch.stack(found) - MEAN) / SPREAD


def sparse_frames(clip: Clip) -> Tensor:
    """The frames uint8 ``(time, 3, height, width)`` of a clip that are embedded: one for every 2 s, at least one.

    Each is the last one before the middle of its 2 s, as FFmpeg chooses it for av-benchmark.

    Raises:
        NotApplicableError: The clip has no frames.

    Example:
        >>> from prismaudio.types import Clip
        >>> sparse_frames(Clip("a", 8.0, torch.arange(200), 25.0)).tolist()
        [24, 74, 124, 174]
    """
    if clip.frames is None or clip.fps is None:
        raise NotApplicableError("it needs frames, but there are none")
    count = max(1, int(FPS * clip.duration_s + 1e-6))
    places = [math.ceil((index + 0.5) / FPS * clip.fps) - 1 for index in range(count)]
    return clip.frames[torch.tensor(places, device=clip.frames.device).clamp(0, len(clip.frames) - 1)]


def crops(frames: Tensor) -> Tensor:
    """Normalised pairs of successive frames ``(3 * pairs, 3, 2, 224, 224)``, three crops of each pair.

    A single frame is a pair with itself. The crops are at both ends and the middle of the longer side.

    Args:
        frames: Frames uint8 ``(time, 3, height, width)``.
    """
    height, width = frames.shape[-2:]
    shorter = min(height, width)
    if shorter != SIZE:  # in bytes, as torchvision's Resize
        size = [SIZE * length // shorter for length in (height, width)]
        frames = F.interpolate(frames.cpu(), size, mode="bicubic", antialias=True)
    mean, spread = (
        torch.tensor(values, device=frames.device)[:, None, None] for values in (COLOUR_MEAN, COLOUR_SPREAD)
    )
    pixels = (frames.float() / 255 - mean) / spread
    if len(pixels) == 1:
        pixels = pixels.expand(2, -1, -1, -1)
    spare = max(pixels.shape[-2:]) - SIZE
    longer = -2 if pixels.shape[-2] > pixels.shape[-1] else -1
    parts = [pixels.narrow(longer, start, SIZE) for start in (0, math.ceil(spare / 2), spare)]
    return torch.cat([torch.stack([part[:-1], part[1:]], 2) for part in parts])


NAMES = (
    (r"modality_preprocessors\.(audio|vision)\.rgbt_stem\.proj(\.1)?\.", r"\1.stem."),
    (r"modality_preprocessors\.(audio)\.rgbt_stem\.norm_layer\.", r"\1.stem_norm."),
    (r"modality_preprocessors\.(audio|vision)\.(pos_embedding_helper\.)?", r"\1."),
    (r"modality_trunks\.(vision)\.pre_transformer_layer\.0\.", r"\1.pre_norm."),
    (r"modality_trunks\.(audio|vision)\.(blocks\.\d+\.)norm_(\d)\.", r"\1.\2norm\3."),
    (r"modality_trunks\.(audio|vision)\.", r"\1."),
    (r"modality_heads\.(audio|vision)\.0\.", r"\1.norm."),
    (r"modality_heads\.(audio|vision)\.2\.", r"\1.projection."),
    (r"modality_postprocessors\.audio\.1\.log_logit_scale$", "log_scale"),
)
"""Published prefixes and ours; the first that fits counts."""


def our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights by the names of :class:`ImageBind`.

    Example:
        >>> list(our_names({"modality_trunks.audio.blocks.3.norm_1.bias": torch.ones(1)}))
        ['audio.blocks.3.norm1.bias']
    """
    return {_our_name(name): value for name, value in weights.items() if not OTHERS.match(name)}


def _our_name(name: str) -> str:
    for published, ours in NAMES:
        renamed, count = re.subn(f"^{published}", ours, name)
        if count:
            return renamed
    return name


@lru_cache(maxsize=2)
def load_imagebind(given: str | None = None) -> ImageBind:
    """The network with its weights, once for each file.

    Args:
        given: ``imagebind_huge.pth``, or a folder that has it; None for the default location.

    Raises:
        CheckpointError: They cannot be found, or are those of another network.
    """
    return cast("ImageBind", load(FILE.find(given), ImageBind, our_names))
