"""The diffusion transformer: one class for the published model and for the embedded one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prismaudio.checkpoints import Configured
from prismaudio.models.conditioners import FeatureConditioner, GridConditioner, to_length
from prismaudio.models.layers import Block, RotaryEmbedding, TimeEmbedding
from prismaudio.types import STREAMS, Conditions, Features


@dataclass(frozen=True, eq=False)
class Guide:
    """What a trajectory's conditions come to, computed once for all of its steps.

    Args:
        added: Sum of the gated streams, ``(batch, frames, width)``; None when there are none.
        context: Tokens to attend to, ``(batch, tokens, width)``; None when there are none.
        mask: True where a context token is real, ``(batch, tokens)``.
    """

    added: Tensor | None
    context: Tensor | None
    mask: Tensor | None


class DiffusionTransformer(Configured, nn.Module):
    """Velocity of stereo latents, told what happens by video, synchronisation, text and plan features.

    A time token is put before the latents; streams along time are added to the latents through a learned gate;
    token streams are attended to. A stream whose width is None does not exist in the model; one that is missing
    from the conditions counts as empty.

    Args:
        latent_channels: Channels of the latents.
        width: Width of the tokens.
        depth: Number of blocks.
        heads: Number of attention heads; ``width / heads`` is at least 32.
        video_width: Width of the video features.
        sync_width: Width of the synchronisation features.
        text_width: Width of the text features.
        plan_width: Width of the plan grid.
        attended: Streams that the blocks attend to.
        added: Streams that are added to the latents.
        data_spread: Standard deviation of the latents, by which input and output are preconditioned so that the
            network sees and predicts values of unit size at every time; None for a network that predicts the velocity.
        expansion: Inner width of a block's feed-forward over ``width``.

    Source:
        ``PrismAudio/models/dit.py`` at 86eed40, from its specification. Different: masks are honoured, streams are
        interpolated to the latent length, the plan stream is ours. Preconditioning: Karras et al. 2022, table 1,
        rewritten for the straight path.
    """

    def __init__(
        self,
        latent_channels: int = 64,
        width: int = 1024,
        depth: int = 24,
        heads: int = 16,
        video_width: int | None = 1024,
        sync_width: int | None = 768,
        text_width: int | None = 1024,
        plan_width: int | None = None,
        attended: Sequence[str] = ("video", "text"),
        added: Sequence[str] = ("video", "sync", "plan"),
        data_spread: float | None = None,
        expansion: int = 4,
    ) -> None:
        super().__init__()
        widths = dict(zip(STREAMS, (video_width, sync_width, text_width, plan_width), strict=True))
        self.latent_channels = latent_channels
        self.attended = tuple(name for name in attended if widths[name])
        self.added = tuple(name for name in added if widths[name])
        self.data_spread = data_spread
        self.conditioners = nn.ModuleDict(
            {
                name: (GridConditioner if name == "plan" else FeatureConditioner)(size, width)
                for name, size in widths.items()
                if size
            }
        )
        self.to_context = FeatureConditioner(width, width)
        self.to_added = nn.ModuleDict({name: FeatureConditioner(width, width) for name in self.added})
        # Video is let in at first, what comes after it waits to be learned; the plan leads.
        start = {"video": 1.0, "sync": 0.0, "plan": 2.0}
        self.gates = nn.ParameterDict({name: nn.Parameter(torch.full((width,), start[name])) for name in self.added})
        self.time_embedding = TimeEmbedding(width)
        self.pre = nn.Conv1d(latent_channels, latent_channels, 1, bias=False)
        self.post = nn.Conv1d(latent_channels, latent_channels, 1, bias=False)
        nn.init.zeros_(self.pre.weight)
        nn.init.zeros_(self.post.weight)
        self.project_in = nn.Linear(latent_channels, width, bias=False)
        self.project_out = nn.Linear(width, latent_channels, bias=False)
        self.rotary = RotaryEmbedding(width // heads)
        self.blocks = nn.ModuleList(Block(width, heads, expansion) for _ in range(depth))

    def guide(self, conditions: Conditions, n_frames: int) -> Guide:
        """Project the conditions for latents of ``n_frames`` frames."""
        tokens: dict[str, Features] = {}
        for name, conditioner in self.conditioners.items():
            stream: Features | None = getattr(conditions, name)
            if stream is not None and stream.values.shape[1]:
                values = conditioner(stream.values) * stream.mask[..., None]
                tokens[name] = Features(values, stream.mask)
        attended = [tokens[name] for name in self.attended if name in tokens]
        context = self.to_context(torch.cat([s.values for s in attended], 1)) if attended else None
        mask = torch.cat([s.mask for s in attended], 1) if attended else None
        added = None
        for name in self.added:
            if name in tokens:
                projected = Features(self.to_added[name](tokens[name].values), tokens[name].mask)
                term = torch.sigmoid(self.gates[name]) * to_length(projected, n_frames)
                added = term if added is None else added + term
        return Guide(added, context, mask)

    def forward(self, latents: Tensor, times: Tensor, conditions: Conditions | Guide) -> Tensor:
        """Velocity ``(batch, channels, frames)``, that is noise minus data.

        Args:
            latents: Noisy latents ``(batch, channels, frames)``.
            times: Flow times ``(batch,)``; 1 is noise, 0 is data.
            conditions: What to make, or what :meth:`guide` made of it.
        """
        guide = conditions if isinstance(conditions, Guide) else self.guide(conditions, latents.shape[-1])
        if self.data_spread is None:
            return self._network(latents, times, guide)
        t, variance = times[:, None, None].to(latents.dtype), self.data_spread**2
        power = (1 - t).square() * variance + t.square()
        known = (t - (1 - t) * variance) / power * latents
        return known - self.data_spread * power.rsqrt() * self._network(latents * power.rsqrt(), times, guide)

    def _network(self, latents: Tensor, times: Tensor, guide: Guide) -> Tensor:
        """The transformer itself."""
        hidden = self.project_in((self.pre(latents) + latents).transpose(1, 2))
        if guide.added is not None:
            hidden = hidden + guide.added
        hidden = torch.cat([self.time_embedding(times)[:, None].to(hidden.dtype), hidden], 1)
        rotary = self.rotary(hidden.shape[1])
        for block in self.blocks:
            hidden = block(hidden, guide.context, guide.mask, rotary)
        out = self.project_out(hidden[:, 1:]).transpose(1, 2)
        return self.post(out) + out
