"""Models of reduced size with random weights, in folders as families publish theirs.

Their chat templates have the form of the families' (markers, roles, places of frames and audio) in words of this
project; their tokenizers have a token for each byte, and the families' special tokens.
"""

import json
from types import SimpleNamespace

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from prismaudio_vlm.chat import Question, View

VOCABULARY = 320
TEXT = {
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
IDEFICS = """<|im_start|>
{%- for message in messages %}{{ message.role | capitalize }}
{%- if message.content is string %}{{ ': ' + message.content }}
{%- else %}{{ ':' if message.content[0].type == 'image' else ': ' }}
{%- for part in message.content %}{{ part.text if part.type == 'text' else '<' + part.type + '>' }}{% endfor %}
{%- endif %}{{ '<end_of_utterance>\\n' }}{% endfor %}{{ 'Assistant:' if add_generation_prompt }}"""
GEMMA = """{{ bos_token }}{% set first = '' %}{% set turns = messages %}
{%- if messages[0].role == 'system' %}{% set turns = messages[1:] %}
{%- set first = messages[0].content[0].text + '\\n\\n' %}{% endif %}
{%- for message in turns %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}
{{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}
{{- first if loop.first }}{% for part in message.content %}
{{- '<start_of_image>' if part.type == 'image' else part.text | trim }}{% endfor %}{{ '<end_of_turn>\\n' }}{% endfor %}
{{- '<start_of_turn>model\\n' if add_generation_prompt }}"""


GEMMA4 = """{{ bos_token }}{% for message in messages %}{{ '<|turn>' + message.role + '\n' }}
{%- if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}
{{- part.text | trim if part.type == 'text' else '<|' + part.type + '|>' }}{% endfor %}{% endif %}{{ '<turn|>\n' }}
{%- endfor %}{{ '<|turn>model\n' if add_generation_prompt }}"""
THOUGHT = (
    "{{ ('<think>\n' if enable_thinking | default(true) else '<think>\n\n</think>\n\n') if add_generation_prompt }}"
)


def chatml(**markers):
    template = CHATML
    for name, marker in markers.items():
        template = template.replace(f"'{name}'", f"'{marker}'")
    return template


def save_tokenizer(folder, special, **names):
    """A token for each byte, then special tokens; returns the number of each special token."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    made.save(str(folder / "tokenizer.json"))
    extra = {name: token for name, token in names.items() if name not in {"bos_token", "eos_token", "pad_token"}}
    stated = {"tokenizer_class": "PreTrainedTokenizerFast", "extra_special_tokens": extra, **names}
    write(folder / "tokenizer_config.json", {key: value for key, value in stated.items() if key not in extra})
    return {token: made.token_to_id(token) for token in special}


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def save_network(folder, network, std=0.35):
    """Weights that are the same in every run, large enough that the frames change the answer."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "norm" not in name and weight.ndim > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * std)
    # as published: options of sampling, which must not apply
    network.generation_config.update(do_sample=True, temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.3)
    network.save_pretrained(folder)


def save_qwen3_vl(folder):
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


def save_qwen3_5(folder):
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    save_qwen3_vl(folder)
    stated = json.loads((folder / "config.json").read_text())
    tokens = {name: stated[name] for name in stated if name.endswith("_token_id")}
    linear = {
        "layer_types": ["full_attention", "linear_attention"], "linear_key_head_dim": 8, "linear_value_head_dim": 8,
        "linear_num_key_heads": 2, "linear_num_value_heads": 4,
        "rope_parameters": ROPE["rope_parameters"] | {"partial_rotary_factor": 1.0},
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "patch_size": 8,
        "out_hidden_size": 32, "num_position_embeddings": 16,
    }  # fmt: skip
    config = Qwen3_5Config(text_config=TEXT | linear, vision_config=vision, **tokens)
    save_network(folder, Qwen3_5ForConditionalGeneration(config))
    template = (folder / "chat_template.jinja").read_text()
    write(folder / "chat_template.jinja", template + THOUGHT)


def save_qwen_omni(folder):
    from transformers import Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration

    names = {
        "image_token": "<|IMAGE|>", "audio_token": "<|AUDIO|>", "video_token": "<|VIDEO|>",
        "vision_bos_token": "<|vision_bos|>", "vision_eos_token": "<|vision_eos|>",
        "audio_bos_token": "<|audio_bos|>", "audio_eos_token": "<|audio_eos|>",
    }  # fmt: skip
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *names.values())
    ids = save_tokenizer(folder, special, eos_token="<|im_end|>", pad_token="<|endoftext|>", **names)
    thinker = {
        "text_config": TEXT | ROPE,
        "vision_config": {
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "patch_size": 8,
            "out_hidden_size": 32, "window_size": 32, "fullatt_block_indexes": [1],
        },
        "audio_config": {
            "num_mel_bins": 128, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64,
            "d_model": 32, "output_dim": 32, "n_window": 20,
        },
        "image_token_index": ids["<|IMAGE|>"], "audio_token_index": ids["<|AUDIO|>"],
        "video_token_index": ids["<|VIDEO|>"], "vision_start_token_id": ids["<|vision_bos|>"],
        "vision_end_token_id": ids["<|vision_eos|>"], "audio_start_token_id": ids["<|audio_bos|>"],
        "audio_end_token_id": ids["<|audio_eos|>"],
    }  # fmt: skip
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "num_key_value_heads": 1, "head_dim": 8, "embedding_size": 32, "vocab_size": 64} | ROPE  # fmt: skip
    codec = {"dit_config": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ff_mult": 1,
                            "emb_dim": 8, "head_dim": 8, "num_embeds": 16, "mel_dim": 8, "enc_dim": 8, "enc_emb_dim": 8,
                            "enc_channels": [8, 8], "enc_kernel_sizes": [3, 1], "enc_dilations": [1, 1],
                            "enc_attention_channels": 4, "enc_res2net_scale": 2, "enc_se_channels": 4},
             "bigvgan_config": {"mel_dim": 8, "upsample_initial_channel": 16, "resblock_kernel_sizes": [3],
                                "resblock_dilation_sizes": [[1, 3, 5]], "upsample_rates": [2],
                                "upsample_kernel_sizes": [4]}}  # fmt: skip
    config = Qwen2_5OmniConfig(thinker_config=thinker, talker_config=small, token2wav_config=codec)
    save_network(folder, Qwen2_5OmniForConditionalGeneration(config))
    heard = {
        "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 128, "sampling_rate": 16000,
        "hop_length": 160, "chunk_length": 6, "n_fft": 400, "return_attention_mask": True, "padding_value": 0.0,
    }  # fmt: skip
    write(folder / "preprocessor_config.json", QWEN_IMAGES | heard | {"processor_class": "Qwen2_5OmniProcessor"})
    markers = {"START": "<|vision_bos|>", "IMAGE": "<|IMAGE|>", "VIDEO": "<|VIDEO|>", "END": "<|vision_eos|>"}
    write(folder / "chat_template.json", {"chat_template": chatml(**markers)})


def save_idefics(folder, *, smolvlm=False):
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
    )

    special = ("<|im_start|>", "<end_of_utterance>", "<|im_end|>", "<fake_token_around_image>", "<image>",
               "<global-img>", *[f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)])  # fmt: skip
    names = {"bos_token": "<|im_start|>", "eos_token": "<end_of_utterance>", "pad_token": "<|im_end|>"}
    ids = save_tokenizer(folder, special, **names)
    config_class, network_class, family = (
        (SmolVLMConfig, SmolVLMForConditionalGeneration, "SmolVLM")
        if smolvlm
        else (Idefics3Config, Idefics3ForConditionalGeneration, "Idefics3")
    )
    config = config_class(
        text_config=TEXT | {"model_type": "llama", "pad_token_id": ids["<|im_end|>"]},
        vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                       "image_size": 32, "patch_size": 8},
        image_token_id=ids["<image>"], scale_factor=2,
    )  # fmt: skip
    save_network(folder, network_class(config))
    frames = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}, "do_image_splitting": True}
    kind = {"image_processor_type": f"{family}ImageProcessor", "processor_class": f"{family}Processor"}
    if smolvlm:
        kind |= {"video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 32}}}
    write(folder / "preprocessor_config.json", IMAGES | frames | kind)
    write(folder / "processor_config.json", {"image_seq_len": 4, "processor_class": f"{family}Processor"})
    write(folder / "chat_template.jinja", IDEFICS)


def save_smolvlm(folder):
    save_idefics(folder, smolvlm=True)


def save_gemma3(folder):
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    names = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    special = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", *names.values())
    ids = save_tokenizer(folder, special, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", **names)
    ends = {"bos_token_id": ids["<bos>"], "pad_token_id": ids["<pad>"], "eos_token_id": ids["<end_of_turn>"]}
    config = Gemma3Config(
        text_config=TEXT | ends | {"sliding_window": 64, "query_pre_attn_scalar": 8},
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


def save_video_llama3(folder):
    from transformers import VideoLlama3Config, VideoLlama3ForConditionalGeneration

    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
    names = {"image_token": "<image>", "video_token": "<video>"}
    ids = save_tokenizer(folder, special, eos_token="<|im_end|>", pad_token="<|endoftext|>", **names)
    config = VideoLlama3Config(
        text_config=TEXT | {"model_type": "qwen2"},
        vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                       "patch_size": 8},
        image_token_id=ids["<image>"], video_token_id=ids["<video>"],
    )  # fmt: skip
    save_network(folder, VideoLlama3ForConditionalGeneration(config))
    frames = {"patch_size": 8, "size": {"shortest_edge": 256, "longest_edge": 32 * 64 * 64}}
    kind = {"image_processor_type": "VideoLlama3ImageProcessor", "processor_class": "VideoLlama3Processor"}
    write(folder / "preprocessor_config.json", IMAGES | frames | kind | {"merge_size": 1})
    kind = {"video_processor_type": "VideoLlama3VideoProcessor"}
    write(folder / "video_preprocessor_config.json", IMAGES | frames | kind | {"merge_size": 2})
    markers = {"START": "", "IMAGE": "<image>", "VIDEO": "<video>", "END": ""}
    write(folder / "chat_template.jinja", chatml(**markers))


def save_internvl(folder):
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    names = {
        "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }  # fmt: skip
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *names.values())
    ids = save_tokenizer(folder, special, eos_token="<|im_end|>", pad_token="<|endoftext|>", **names)
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
              "image_size": [32, 32], "patch_size": [8, 8], "layer_scale_init_value": 1.0}  # fmt: skip
    config = InternVLConfig(
        text_config=TEXT | {"model_type": "qwen2"}, vision_config=vision, image_token_id=ids["<IMG_CONTEXT>"],
        image_seq_length=4, tie_word_embeddings=False,
    )  # fmt: skip
    save_network(folder, InternVLForConditionalGeneration(config))
    kind = {"image_processor_type": "GotOcr2ImageProcessorFast", "processor_class": "InternVLProcessor"}
    write(folder / "preprocessor_config.json", IMAGES | kind | {"size": {"height": 32, "width": 32}})
    write(folder / "processor_config.json", {"image_seq_length": 4, "processor_class": "InternVLProcessor"})
    markers = {"START": "", "IMAGE": "<IMG_CONTEXT>", "VIDEO": "<video>", "END": ""}
    write(folder / "chat_template.jinja", chatml(**markers))


def save_gemma4(folder):
    from transformers import Gemma4Config, Gemma4ForConditionalGeneration

    names = {
        "image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>", "audio_token": "<|audio|>",
        "boa_token": "<|audio>", "eoa_token": "<audio|>",
    }  # fmt: skip
    special = ("<pad>", "<eos>", "<bos>", "<|turn>", "<turn|>", "<|video|>", *names.values())
    ids = save_tokenizer(folder, special, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", **names)
    config = Gemma4Config(
        text_config=TEXT | {
            "vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8, "sliding_window": 64,
            "global_head_dim": 8, "layer_types": ["sliding_attention", "full_attention"], "tie_word_embeddings": False,
            "use_bidirectional_attention": "vision",
        },
        vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                       "num_key_value_heads": 4, "head_dim": 8, "patch_size": 8, "pooling_kernel_size": 2,
                       "position_embedding_size": 64},
        audio_config={"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
                      "subsampling_conv_channels": [128, 4], "output_proj_dims": 32},
        tie_word_embeddings=False, image_token_id=ids["<|image|>"], boi_token_id=ids["<|image>"],
        eoi_token_id=ids["<image|>"], video_token_id=ids["<|video|>"], audio_token_id=ids["<|audio|>"],
        boa_token_id=ids["<|audio>"], eoa_token_index=ids["<audio|>"],
    )  # fmt: skip
    save_network(folder, Gemma4ForConditionalGeneration(config))
    images = {"image_processor_type": "Gemma4ImageProcessor", "patch_size": 8, "pooling_kernel_size": 2,
              "max_soft_tokens": 70}  # fmt: skip
    heard = {"feature_extractor_type": "Gemma4AudioFeatureExtractor"}
    parts = {"image_processor": images, "feature_extractor": heard, "processor_class": "Gemma4Processor"}
    write(folder / "processor_config.json", parts | {"image_seq_length": 70})
    write(folder / "chat_template.jinja", GEMMA4)


FAMILIES = {
    "qwen3_vl": save_qwen3_vl,
    "qwen_omni": save_qwen_omni,
    "idefics3": save_idefics,
    "smolvlm": save_smolvlm,
    "gemma3": save_gemma3,
    "video_llama3": save_video_llama3,
    "qwen3_5": save_qwen3_5,
    "internvl": save_internvl,
    "gemma4": save_gemma4,
}


def frames(count, seed=0, size=(40, 48)):
    return torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def view(*times_s, label="The whole clip", seed=0, size=(40, 48)):
    return View(frames(len(times_s), seed, size), times_s, label)


def question(*views, text="When does it sound?", system="You plan sounds.", **more):
    return Question(system, views, text, **more)


def recorded(chat):
    """What the network of a chat is given from now on, and the tokens that it answers."""
    chat._load()
    network, calls = chat._network, []
    generate = type(network).generate

    def record(**inputs):
        tokens = generate(network, **inputs)
        calls.append((inputs, tokens[:, inputs["input_ids"].shape[1] :]))
        return tokens

    network.generate = record
    return calls


@pytest.fixture
def asking():
    """How questions are made, and recorded."""
    return SimpleNamespace(frames=frames, view=view, question=question, recorded=recorded)


@pytest.fixture(scope="session")
def families():
    """What writes the folder of each family."""
    return FAMILIES


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """The folder of a family, by its name; written when it is first asked for."""
    root = tmp_path_factory.mktemp("models")

    def folder(name):
        if not (root / name).is_dir():
            (root / name).mkdir()
            FAMILIES[name](root / name)
        return root / name

    return folder
