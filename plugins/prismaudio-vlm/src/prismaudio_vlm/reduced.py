"""Language models of reduced size with random weights, in folders as their families publish theirs.

They answer nonsense, and are trained in seconds: for tests and ``smoke/cot_vlm``. Their chat templates have the form
of the families' (markers, roles, places of frames) in words of this project; their tokenizers have a token for each
byte, and the families' special tokens. ``python -m prismaudio_vlm.reduced FAMILY DIR`` writes one, with short prompts.
"""

# ruff: noqa: S106 - tokens of texts are no passwords
from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

VOCABULARY = 320
TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 4096,
}  # fmt: skip
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000, "mrope_section": [2, 1, 1]}}
IMAGES = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "rescale_factor": 1 / 255}
QWEN_IMAGES = IMAGES | {
    "image_processor_type": "Qwen2VLImageProcessorFast", "patch_size": 8, "temporal_patch_size": 2, "merge_size": 2,
    "size": {"shortest_edge": 32 * 32, "longest_edge": 64 * 64},  # numbers of pixels
}  # fmt: skip
CHATML = """
{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}
{%- if part.type == 'image' %}{{ 'START' + 'IMAGE' + 'END' }}
{%- elif part.type == 'video' %}{{ 'START' + 'VIDEO' + 'END' }}
{%- elif part.type == 'audio' %}{{ '<|audio_bos|><|AUDIO|><|audio_eos|>' }}
{%- else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
GEMMA = """{{ bos_token }}{% set first = '' %}{% set turns = messages %}
{%- if messages[0].role == 'system' %}{% set turns = messages[1:] %}
{%- set first = messages[0].content[0].text + '\\n\\n' %}{% endif %}
{%- for message in turns %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}
{{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}
{{- first if loop.first }}{% for part in message.content %}
{{- '<start_of_image>' if part.type == 'image' else part.text | trim }}{% endfor %}{{ '<end_of_turn>\\n' }}{% endfor %}
{{- '<start_of_turn>model\\n' if add_generation_prompt }}"""


def chatml(**markers: str) -> str:
    """The template of Qwen, with markers around frames."""
    template = CHATML
    for name, marker in markers.items():
        template = template.replace(f"'{name}'", f"'{marker}'")
    return template


def save_tokenizer(folder: Path, special: Sequence[str], **names: str) -> dict[str, int]:
    """Write a tokenizer with a token for each byte, then special tokens; returns the number of each special token."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    made.save(str(folder / "tokenizer.json"))
    extra = {name: token for name, token in names.items() if name not in {"bos_token", "eos_token", "pad_token"}}
    stated = {"tokenizer_class": "PreTrainedTokenizerFast", "extra_special_tokens": extra, **names}
    write(folder / "tokenizer_config.json", {key: value for key, value in stated.items() if key not in extra})
    return {token: int(made.token_to_id(token) or 0) for token in special}


def write(path: Path, value: Any) -> None:
    """Write a text, or a value as JSON."""
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def save_network(folder: Path, network: Any, std: float = 0.35) -> None:
    """Write weights that are the same in every run, large enough that the frames change the answer."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "norm" not in name and weight.ndim > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * std)
    # as published: options of sampling, which must not apply
    network.generation_config.update(do_sample=True, temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.3)
    network.save_pretrained(folder)


def save_qwen3_vl(folder: Path) -> None:
    """Write a Qwen3-VL."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
               "<|video_pad|>")  # fmt: skip
    ids = save_tokenizer(folder, special, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    config = Qwen3VLConfig(
        text_config=TEXT | ROPE,
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "patch_size": 8,
            "out_hidden_size": 32, "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    save_network(folder, Qwen3VLForConditionalGeneration(config))
    write(folder / "preprocessor_config.json", QWEN_IMAGES | {"processor_class": "Qwen3VLProcessor"})
    videos = QWEN_IMAGES | {"size": {"shortest_edge": 4 * 32 * 32, "longest_edge": 32 * 64 * 64}}
    del videos["image_processor_type"]
    write(folder / "video_preprocessor_config.json", videos | {"video_processor_type": "Qwen3VLVideoProcessor"})
    markers = {"START": "<|vision_start|>", "IMAGE": "<|image_pad|>", "VIDEO": "<|video_pad|>", "END": "<|vision_end|>"}
    write(folder / "chat_template.jinja", chatml(**markers))


def save_gemma3(folder: Path, window: int = 64) -> None:
    """Write a Gemma 3 whose attention reaches ``window`` tokens back."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    names = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    special = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", *names.values())
    ids = save_tokenizer(folder, special, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", **names)
    ends = {"bos_token_id": ids["<bos>"], "pad_token_id": ids["<pad>"], "eos_token_id": ids["<end_of_turn>"]}
    config = Gemma3Config(
        text_config=TEXT | ends | {"sliding_window": window, "query_pre_attn_scalar": 8},
        vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                       "image_size": 32, "patch_size": 8},
        mm_tokens_per_image=4, tie_word_embeddings=False, image_token_index=ids["<image_soft_token>"],
        boi_token_index=ids["<start_of_image>"], eoi_token_index=ids["<end_of_image>"],
    )  # fmt: skip
    network = Gemma3ForConditionalGeneration(config)
    network.generation_config.eos_token_id = [ids["<eos>"], ids["<end_of_turn>"]]
    save_network(folder, network)
    kind = {"image_processor_type": "Gemma3ImageProcessor", "processor_class": "Gemma3Processor"}
    write(folder / "preprocessor_config.json", IMAGES | kind | {"size": {"height": 32, "width": 32}})
    write(folder / "processor_config.json", {"image_seq_length": 4, "processor_class": "Gemma3Processor"})
    write(folder / "chat_template.jinja", GEMMA)


def save_smollm(folder: Path) -> None:
    """Write a language model that only reads, of the class of SmolLM2."""
    from transformers import LlamaConfig, LlamaForCausalLM

    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    ids = save_tokenizer(folder, special, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    config = LlamaConfig(
        **TEXT, tie_word_embeddings=True, eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"]
    )
    save_network(folder, LlamaForCausalLM(config))
    write(folder / "chat_template.jinja", CHATML)


FAMILIES: dict[str, Callable[[Path], None]] = {
    "qwen3_vl": save_qwen3_vl,
    "gemma3": functools.partial(save_gemma3, window=512),  # all frames of the smoke recipe
    "smollm": save_smollm,
}
"""What writes the folder of each family."""
SHORT_PROMPTS = {
    "system": "Plan.",
    "clip": "",
    "given": "",
    "section": "$name",
    "together": "$sections",
    "decouple": "$cot $sections",
    "together_section": "$tag",
}
"""Prompts of a few letters, since each letter is a token."""


def save_reduced(family: str, folder: Path) -> None:
    """Write a model of reduced size, with prompts of a few letters.

    Args:
        family: ``qwen3_vl``, ``gemma3`` or ``smollm``.
        folder: The folder, which is made.
    """
    (folder / "prompts").mkdir(parents=True, exist_ok=True)
    FAMILIES[family](folder)
    lines = [f"{name}: {json.dumps(text)}\n" for name, text in SHORT_PROMPTS.items()]
    (folder / "prompts" / "planner.yaml").write_text("".join(lines), encoding="utf-8")


def main(argv: Sequence[str]) -> int:
    """Run ``python -m prismaudio_vlm.reduced FAMILY DIR``."""
    if len(argv) != 2 or argv[0] not in FAMILIES:
        sys.stderr.write(f"usage: python -m prismaudio_vlm.reduced {{{','.join(FAMILIES)}}} DIR\n")
        return 2
    save_reduced(argv[0], Path(argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
