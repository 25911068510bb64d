from __future__ import annotations

import pytest
import torch

DESCRIPTION = {
    "format": 1,
    "latents": {"class": "a:A", "weights": "0123", "sample_rate_hz": 16_000, "hop": 256, "channels": 4},
    "streams": {
        "video": {"class": "v:V", "width": 3, "rate_hz": 12.5, "group": 1},
        "text": {"class": "t:T", "width": 5, "rate_hz": None, "group": 1},
    },
}
"""62.5 latent frames and 12.5 frames a second, so that 5 frames are one frame."""


def tensors(n_frames: int, n_texts: int = 1) -> dict[str, torch.Tensor]:
    """A clip whose latents and video say at which frame they are."""
    times = torch.arange(n_frames, dtype=torch.float32)
    values = {
        "latents": times.repeat_interleave(5).expand(4, -1).contiguous(),
        "video": times[:, None].expand(-1, 3).contiguous(),
    }
    for i in range(n_texts):
        values[f"text.{i}" if i else "text"] = torch.full((2 + i, 5), float(i))
    return values


@pytest.fixture
def write(tmp_path):
    """Write a shard: ``write({"id": n_frames or tensors})`` gives its path."""
    from prismaudio.data.shards import shard_bytes

    def write(clips, name="shard-00000", description=DESCRIPTION, infos=None, folder=None):
        path = (folder or tmp_path / "features") / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        made = {key: value if isinstance(value, dict) else tensors(value) for key, value in clips.items()}
        path.write_bytes(shard_bytes(made, infos or {}, description))
        return path

    return write
