"""Models of reduced size with random weights, in folders as families publish theirs; see prismaudio_vlm.reduced."""

import json
from types import SimpleNamespace

import pytest
import torch

from prismaudio_vlm.chat import Question, View
from prismaudio_vlm.reduced import (
    IMAGES,
    QWEN_IMAGES,
    ROPE,
    TEXT,
    VOCABULARY,
    chatml,
    save_gemma3,
    save_network,
    save_qwen3_vl,
    save_tokenizer,
    write,
)

IDEFICS = """<|im_start|>
{%- for message in messages %}{{ message.role | capitalize }}
{%- if message.content is string %}{{ ': ' + message.content }}
{%- else %}{{ ':' if message.content[0].type == 'image' else ': ' }}
{%- for part in message.content %}{{ part.text if part.type == 'text' else '<' + part.type + '>' }}{% endfor %}
{%- endif %}{{ '<end_of_utterance>\\n' }}{% endfor %}{{ 'Assistant:' if add_generation_prompt }}"""
GEMMA4 = """{{ bos_token }}{% for message in messages %}{{ '<|turn>' + message.role + '\n' }}
{%- if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}
{{- part.text | trim if part.type == 'text' else '<|' + part.type + '|>' }}{% endfor %}{% endif %}{{ '<turn|>\n' }}
{%- endfor %}{{ '<|turn>model\n' if add_generation_prompt }}"""
THOUGHT = (
    "{{ ('<think>\n' if enable_thinking | default(true) else '<think>\n\n</think>\n\n') if add_generation_prompt }}"
)


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
