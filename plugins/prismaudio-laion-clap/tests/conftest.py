import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import ClapConfig

from prismaudio_laion_clap.network import LaionClap
from prismaudio_laion_clap.published import mel_bands

AUDIO = {"patch_embeds_hidden_size": 8, "hidden_size": 64, "depths": [1, 1, 2, 1], "num_attention_heads": [1, 1, 2, 2]}
TEXT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 32}
FORM = {"audio_config": AUDIO | {"projection_dim": 24}, "text_config": TEXT | {"projection_dim": 24}}


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """A tokenizer of bytes with as many tokens as RoBERTa's, as a path."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary = {token: i for i, token in enumerate(alphabet + [f"unused{i}" for i in range(50_265 - len(alphabet))])}
    found = Tokenizer(models.BPE(vocabulary, []))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    found.enable_truncation(77)
    path = tmp_path_factory.mktemp("roberta") / "tokenizer.json"
    found.save(str(path))
    return str(path)


@pytest.fixture
def config():
    """The published form, but much smaller."""
    return ClapConfig(**FORM, projection_dim=24)


@pytest.fixture
def network(config):
    torch.manual_seed(5)
    network = LaionClap(config).eval()
    network.bands.copy_(mel_bands("slaney"))
    return network
