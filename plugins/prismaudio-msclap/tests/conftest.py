import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import ClapAudioConfig, GPT2Config

from prismaudio.audio.spectral import published_mel_filters
from prismaudio_msclap.network import MsClap


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """A tokenizer of bytes with as many tokens as GPT-2's, as a path."""
    alphabet = ["!", *sorted(set(pre_tokenizers.ByteLevel.alphabet()) - {"!"})]
    vocabulary = {token: i for i, token in enumerate(alphabet + [f"unused{i}" for i in range(50_256 - len(alphabet))])}
    found = Tokenizer(models.BPE(vocabulary, []))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.add_special_tokens(["<|endoftext|>"])
    path = tmp_path_factory.mktemp("gpt2") / "tokenizer.json"
    found.save(str(path))
    return str(path)


@pytest.fixture
def network():
    """The published form, but much smaller."""
    torch.manual_seed(5)
    audio = ClapAudioConfig(
        patch_embeds_hidden_size=8, hidden_size=64, depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2]
    )
    text = GPT2Config(n_embd=16, n_layer=2, n_head=2)
    network = MsClap(audio, text, width=24).eval()
    network.bands.copy_(published_mel_filters(64, 1024, 32_000, 50, 14_000, "slaney").T)
    return network
