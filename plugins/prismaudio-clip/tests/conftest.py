import json

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

VISION = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
MIT = {
    "num_frames": 4, "mit_hidden_size": 20, "mit_intermediate_size": 40, "mit_num_hidden_layers": 1,
    "mit_num_attention_heads": 2,
}  # fmt: skip
TEXT = {
    "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 12,
    "max_position_embeddings": 8, "bos_token_id": 0, "eos_token_id": 11, "pad_token_id": 1,
}  # fmt: skip
WORDS = ("<bos>", "</s>", "a", "dog", "barks", "twice", "?", "<eos>")
PROCESSORS = {
    "clip": {
        "do_resize": True, "size": {"shortest_edge": 32}, "resample": 3, "do_center_crop": True, "do_rescale": True,
        "crop_size": {"height": 32, "width": 32}, "do_normalize": True, "rescale_factor": 0.00392156862745098,
        "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28],
    },
    "siglip": {
        "do_resize": True, "size": {"height": 32, "width": 32}, "resample": 3, "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    },
    "xclip": {
        "do_resize": True, "size": 36, "resample": 2, "do_center_crop": True, "crop_size": 32, "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
    },
}  # fmt: skip


def save_tokenizer(folder, kind):
    ids = {word: index for index, word in enumerate(WORDS[:-1])} | {"<eos>": 11}
    made = Tokenizer(models.WordLevel(ids, unk_token="?"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if kind == "siglip":
        made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    else:
        special = [("<bos>", 0), ("<eos>", 11)]
        made.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=special)
    made.save(str(folder / "tokenizer.json"))


def network(kind):
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel, XCLIPConfig, XCLIPModel

    torch.manual_seed(0)
    if kind == "siglip":
        text = {**TEXT, "projection_size": 32}
        made = SiglipModel(SiglipConfig(vision_config=VISION, text_config=text))
    elif kind == "clip":
        made = CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=20))
    else:
        config = XCLIPConfig(vision_config={**VISION, **MIT}, text_config=TEXT, projection_dim=20)
        config.prompt_num_attention_heads = 2
        made = XCLIPModel(config)
    for name, weight in made.named_parameters():
        if "norm" not in name and "scale" not in name:
            torch.nn.init.normal_(weight, std=0.3)
    return made.eval()


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A tiny network of each kind as transformers saves it."""
    root = tmp_path_factory.mktemp("networks")
    for kind, processor in PROCESSORS.items():
        network(kind).save_pretrained(root / kind)
        (root / kind / "preprocessor_config.json").write_text(json.dumps(processor))
        save_tokenizer(root / kind, kind)
    return root
