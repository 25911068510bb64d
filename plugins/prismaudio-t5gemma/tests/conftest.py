import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = (
    *("<pad>", "</s>", "<bos>", "?", "<", ">", "Semantic", "Temporal", "Spatial", "A", "dog", "barks", "cat", "at"),
    *("left", "right", "from", "the", "."),
)
SIZES = {
    "vocab_size": 32, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "query_pre_attn_scalar": 4, "sliding_window": 8,
}  # fmt: skip
T5_SIZES = {"vocab_size": 32, "d_model": 24, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 3}


def save_tokenizer(folder, first="<bos>", last=None):
    """A tokenizer of words that adds tokens before and after a text, and would cut it at eight tokens."""
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    single = " ".join(filter(None, (first, "$A", last)))
    special = [(word, WORDS.index(word)) for word in (first, last) if word]
    made.post_processor = processors.TemplateProcessing(single=single, special_tokens=special)
    made.enable_truncation(8)
    made.enable_padding(length=6)
    made.save(str(folder / "tokenizer.json"))


def enlarge(network):
    """Weights of such a size that attention is far from uniform and its cap counts."""
    torch.manual_seed(0)
    for name, weight in network.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(weight, std=0.5)
    return network.eval()


def t5gemma_config():
    from transformers import T5GemmaConfig, T5GemmaModuleConfig

    module = T5GemmaModuleConfig(**SIZES, rope_parameters={"rope_type": "default", "rope_theta": 500.0})
    return T5GemmaConfig(encoder=module, decoder=T5GemmaModuleConfig(**SIZES), vocab_size=SIZES["vocab_size"])


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A tiny T5-Gemma of encoder and decoder in bfloat16, as it is published, in shards."""
    from transformers import T5GemmaForConditionalGeneration

    folder = tmp_path_factory.mktemp("whole") / "t5gemma-l-l-ul2-it"
    network = enlarge(T5GemmaForConditionalGeneration(t5gemma_config())).to(torch.bfloat16)
    network.save_pretrained(folder, max_shard_size="20KB")
    save_tokenizer(folder)
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder


@pytest.fixture(scope="session")
def alone(whole, tmp_path_factory):
    """Its encoder alone, in float32."""
    from transformers import T5GemmaEncoderModel

    folder = tmp_path_factory.mktemp("alone")
    T5GemmaEncoderModel.from_pretrained(whole, is_encoder_decoder=False, dtype=torch.float32).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def t5(tmp_path_factory):
    """A tiny T5 with gated layers."""
    from transformers import T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("t5")
    enlarge(T5ForConditionalGeneration(T5Config(**T5_SIZES, feed_forward_proj="gated-gelu"))).save_pretrained(folder)
    save_tokenizer(folder, first=None, last="</s>")
    return folder
