import pytest
import torch
from transformers import WavLMConfig

from prismaudio_audiobox.network import AudioboxNetwork


@pytest.fixture(scope="session")
def network():
    """A network in miniature with random weights."""
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    return AudioboxNetwork(WavLMConfig(**size, conv_dim=(8,) * 7, num_conv_pos_embedding_groups=2), 2).eval()
