"""Features against transformers' own, batches, long texts, the cache, and the place in a model folder."""

import json
import shutil

import pytest
import torch
from huggingface_hub import errors

from prismaudio import weight_folders
from prismaudio.checkpoints import load_components, loadable, save_components
from prismaudio.components import Component
from prismaudio.errors import CheckpointError
from prismaudio.plan import Plan
from prismaudio.testing import check_encoder
from prismaudio.testing.examples import example_clip
from prismaudio.weight_files import save_tensors
from prismaudio_t5gemma import encoder as module
from prismaudio_t5gemma.encoder import T5GemmaEncoder, text_of

SHORT, LONG = "A cat .", "A dog barks . A cat barks from the left . The dog barks ."
PLAN = Plan({"semantic": "A dog barks.", "temporal": "The dog at 0.66 s.", "spatial": "From the left."})
TINY = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 16,
}  # fmt: skip


def theirs(network, ids):
    ids = torch.tensor([ids])
    with torch.no_grad():
        return network(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]


def batches_of(encoder):
    """The shapes of the batches that the network of an encoder computes from now on."""
    shapes = []

    def note(network, args, kwargs):
        shapes.append(tuple(kwargs["input_ids"].shape))

    encoder.network.register_forward_pre_hook(note, with_kwargs=True)
    return shapes


def test_it_keeps_the_contract(whole):
    check_encoder(T5GemmaEncoder(str(whole)), clip=example_clip(1.0))


@pytest.mark.parametrize("soft_cap", [True, False])
def test_features_are_those_of_transformers(whole, soft_cap):
    from transformers import T5GemmaConfig, T5GemmaEncoderModel

    config = T5GemmaConfig.from_pretrained(whole, is_encoder_decoder=False)
    if not soft_cap:
        config.encoder.attn_logit_softcapping = None
    network = T5GemmaEncoderModel.from_pretrained(whole, config=config, dtype=torch.float32)
    ours = T5GemmaEncoder(str(whole), soft_cap=soft_cap)
    expected = theirs(network, [2, 9, 10, 11, 18, 9, 12, 11, 16, 17, 14, 18, 3, 10, 11, 18])
    torch.testing.assert_close(ours.encode_texts([LONG])[0], expected, atol=1e-6, rtol=0)
    other = T5GemmaEncoder(str(whole), soft_cap=not soft_cap).encode_texts([LONG])[0]
    assert (other - expected).abs().max() > 1e-3
    assert ours.dim == 32
    assert not any(weight.dtype != torch.float32 for weight in ours.network.parameters())


def test_an_encoder_alone_and_a_folder_above_are_the_same(whole, alone):
    expected = T5GemmaEncoder(str(whole)).encode_texts([LONG])[0]
    assert torch.equal(T5GemmaEncoder(str(alone)).encode_texts([LONG])[0], expected)
    assert torch.equal(T5GemmaEncoder(str(whole.parent)).encode_texts([LONG])[0], expected)


def test_t5_is_of_the_same_class(t5):
    from transformers import T5EncoderModel

    ours = T5GemmaEncoder(str(t5))
    expected = theirs(T5EncoderModel.from_pretrained(t5).eval(), [9, 12, 18, 1])
    torch.testing.assert_close(ours.encode_texts([SHORT])[0], expected, atol=1e-5, rtol=1e-5)
    assert (ours.dim, ours.sizes["model_type"]) == (24, "t5")


@pytest.mark.parametrize("folder", ["whole", "t5"])
def test_a_batch_changes_nothing(folder, request):
    folder = str(request.getfixturevalue(folder))
    plans = [PLAN, Plan({"semantic": SHORT}), Plan({}), Plan({"semantic": LONG}), PLAN]
    alone = [T5GemmaEncoder(folder).encode(example_clip(1.0), plan) for plan in plans]
    together = T5GemmaEncoder(folder).encode_batch([example_clip(1.0)] * 5, plans)
    assert [len(row) for row in together] == [len(row) for row in alone]
    assert len(together[2]) == 0
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_long_texts_are_neither_cut_nor_batched(whole, monkeypatch):
    ours = T5GemmaEncoder(str(whole))
    batches = batches_of(ours)
    monkeypatch.setattr(module, "MAX_PAIRS", 2 * 40**2)
    texts = [" ".join(["dog"] * count) for count in (3000, 30, 4, 35)]
    assert [len(row) for row in ours.encode_texts(texts)] == [3001, 31, 5, 36]
    assert batches == [(1, 3001), (2, 36), (1, 5)]


def test_the_text_is_that_of_the_release():
    example = "<Semantic> A dog barks. <Temporal> At once. <Aesthetic> Clear. <Spatial> From the left."
    assert text_of(Plan.parse(example)) == example
    assert text_of(Plan({"semantic": "Begin with a dog <3."})) == "Begin with a dog <3."
    assert text_of(Plan({"spatial": "left"})) == "<Spatial> left"


def test_tokens_are_those_of_the_tokenizer_of_gemma(whole, tmp_path):
    from transformers import GemmaTokenizer

    letters = ("▁", "d", "o", "g", "A", "<", ">", "S", ".", *(f"<0x{byte:02X}>" for byte in range(256)))
    words = {
        word: i for i, word in enumerate(("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *letters, "do", "dog", "▁dog"))
    }
    gemma = GemmaTokenizer({word: i for i, word in enumerate(words)}, merges=[("d", "o"), ("do", "g"), ("▁", "dog")])
    shutil.copytree(whole, tmp_path / "copy")
    gemma.save_pretrained(tmp_path / "copy")
    ours = T5GemmaEncoder(str(tmp_path / "copy"))
    ours.vocab_size = len(words)
    for text in ("A dog dog.", "<S>  dög. "):
        assert ours._tokens(text) == gemma(text).input_ids


def test_a_text_is_encoded_once(whole):
    ours = T5GemmaEncoder(str(whole))
    batches = batches_of(ours)
    with torch.inference_mode():
        first = ours.encode_texts([SHORT, LONG, SHORT])
    again = ours.encode_texts([LONG, SHORT])
    assert [rows for rows, _ in batches] == [2]
    assert torch.equal(again[0], first[1])
    assert torch.equal(first[0], first[2])
    loss = (again[0] * torch.ones(32, requires_grad=True)).sum()  # features of the inference mode would refuse
    loss.backward()


def test_the_cache_is_bounded_and_follows_the_weights(whole):
    ours = T5GemmaEncoder(str(whole))
    ours.cache_bytes = 32 * 4 * 40
    words = ("dog", "cat", "left", "right")
    texts = [" ".join([word] * 11) for word in words]  # 12 tokens with the first, so that three texts fit
    for text in texts:
        ours.encode_texts([text, texts[0]])
    assert [text for text, _ in ours._cache] == [texts[2], texts[3], texts[0]]
    before = ours.encode_texts([SHORT])[0]
    ours.load_state_dict({**ours.state_dict(), "network.norm.weight": torch.ones(32)})
    assert not torch.equal(ours.encode_texts([SHORT])[0], before)
    assert ours.to(torch.bfloat16).encode_texts([SHORT])[0].dtype == torch.float32


@pytest.mark.parametrize("folder", ["whole", "t5"])
def test_a_model_folder_holds_weights_and_tokenizer(folder, request, tmp_path):
    encoder = T5GemmaEncoder(str(request.getfixturevalue(folder)))
    save_components(tmp_path / "model", {"text_encoder": encoder})
    named = loadable([("encoders", Component("prismaudio_t5gemma.encoder:T5GemmaEncoder", ""))])
    again = load_components(tmp_path / "model", named)["text_encoder"]
    expected = encoder.encode(example_clip(1.0), PLAN)
    assert torch.equal(again.encode(example_clip(1.0), PLAN), expected)
    config = json.loads((tmp_path / "model" / "config.json").read_text())["components"]["text_encoder"]["arguments"]
    assert config["weights"] == ""
    assert config["tokenizer_bytes"] == len(encoder.tokenizer_json)


def test_random_weights_take_any_text():
    torch.manual_seed(0)
    ours = T5GemmaEncoder("random", sizes=TINY)
    assert ours.encode_texts(["né <Semantic>"])[0].shape == (len("né <Semantic>".encode()), 32)
    assert T5GemmaEncoder("random", sizes={"model_type": "t5", "vocab_size": 9, "d_model": 24}).dim == 24


def test_published_sizes_have_570_million_weights():
    encoder = T5GemmaEncoder("")
    assert sum(weight.numel() for weight in encoder.network.parameters()) == 570_524_672
    with pytest.raises(CheckpointError, match="has no weights yet"):
        encoder.encode(example_clip(1.0), PLAN)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"model_type": "bert"}, "is a 'bert'; expected t5gemma or t5"),
        ({"_attn_implementation": "someone/code"}, "t5gemma has no size '_attn_implementation'"),
        ({"hidden_size": "wide"}, "the sizes of t5gemma are not valid: .*hidden_size"),
        ({"num_attention_heads": 7}, "not a multiple of the number of attention heads"),
    ],
)
def test_sizes_are_checked(sizes, message):
    with pytest.raises(CheckpointError, match=message):
        T5GemmaEncoder("", sizes=sizes)


def _edited(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _weights(folder, name):
    save_tensors({name: torch.ones(1)}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: _edited(folder / "config.json", model_type="gemma"), "is a 'gemma'; expected T5-Gemma or T5"),
        (lambda folder: _edited(folder / "config.json", encoder=None), "describes no encoder"),
        (lambda folder: _edited(folder / "config.json", encoder={"head_dim": "x"}), "config.json is not valid"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is damaged"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer.json is not a tokenizer.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no model.safetensors, and other formats"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99), "is missing, truncated or damaged"),
        (
            lambda folder: save_tensors({"a": torch.ones(1)}, folder / "model.safetensors"),
            "has no weights of an encoder",
        ),
        (
            lambda folder: save_tensors({"encoder.a": torch.ones(1)}, folder / "model.safetensors"),
            "does not fit T5Gemma",
        ),
    ],
)
def test_a_folder_that_is_not_right_is_refused_in_one_line(alone, tmp_path, damage, message):
    shutil.copytree(alone, tmp_path / "copy")
    damage(tmp_path / "copy")
    with pytest.raises(CheckpointError, match=message) as caught:
        T5GemmaEncoder(str(tmp_path / "copy"))
    assert "\n" not in str(caught.value)


def test_gated_weights_say_how_to_get_them(monkeypatch, tmp_path):
    def refuse(repository, path):
        raise errors.GatedRepoError.__new__(errors.GatedRepoError)

    monkeypatch.setattr(weight_folders._Repository, "fetch", refuse)
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError) as caught:
        T5GemmaEncoder()
    assert str(caught.value) == (
        "google/t5gemma-l-l-ul2-it is gated: accept its licence on https://huggingface.co/google/t5gemma-l-l-ul2-it "
        "and log in with hf auth login, or name DeepBeepMeep/prismaudio, which has t5gemma-l-l-ul2-it without a gate"
    )


def test_a_tokenizer_of_another_network_is_refused(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    tokenizer = json.loads((whole / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["barks"] = 99
    (tmp_path / "copy" / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(CheckpointError, match="knows more than the 32 tokens of the network"):
        T5GemmaEncoder(str(tmp_path / "copy")).encode_texts([LONG])
