"""Networks of reduced size answer questions about frames and audio, without torchvision."""

import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoModelForMultimodalLM,
    Gemma3ImageProcessorPil,
    Gemma4ImageProcessorPil,
    GotOcr2ImageProcessorPil,
    Idefics3ImageProcessorPil,
    Qwen2VLImageProcessorPil,
    SmolVLMImageProcessorPil,
    WhisperFeatureExtractor,
)

from prismaudio.errors import CheckpointError, PlanError
from prismaudio_vlm.chat import Answer
from prismaudio_vlm.transformers_chat import ChatTemplate, Sampling, TransformersChat, without_thinking

SMOLVLM = pytest.param(
    "smolvlm",
    marks=pytest.mark.skipif(importlib.util.find_spec("num2words") is None, reason="its processor needs num2words"),
)
IMAGE_PROCESSORS = {
    "qwen3_vl": Qwen2VLImageProcessorPil,
    "qwen_omni": Qwen2VLImageProcessorPil,
    "idefics3": Idefics3ImageProcessorPil,
    "smolvlm": SmolVLMImageProcessorPil,
    "gemma3": Gemma3ImageProcessorPil,
    "qwen3_5": Qwen2VLImageProcessorPil,
    "internvl": GotOcr2ImageProcessorPil,
    "gemma4": Gemma4ImageProcessorPil,
}
SINGLE = {"do_image_splitting": False}
ALL = pytest.mark.parametrize("family", [SMOLVLM if name == "smolvlm" else name for name in IMAGE_PROCESSORS])
QWEN = (
    "<|im_start|>system\nYou plan sounds.<|im_end|>\n<|im_start|>user\n"
    "The whole clip:\n0.00 s:{a}\n0.51 s:{a}\n1.50 s:{a}\nA moment of change:\n1.50 s:{b}\n1.62 s:{b}\n"
    "When does it sound?<|im_end|>\n<|im_start|>assistant\n"
)
IDEFICS = (
    "<|im_start|>System: You plan sounds.<end_of_utterance>\nUser: "
    "The whole clip:\n0.00 s:{a}\n0.51 s:{a}\n1.50 s:{a}\nA moment of change:\n1.50 s:{b}\n1.62 s:{b}\n"
    "When does it sound?<end_of_utterance>\nAssistant:"
)
GEMMA = (
    "<bos><start_of_turn>user\nYou plan sounds.\n\nThe whole clip:\n0.00 s:{a}0.51 s:{a}1.50 s:{a}"
    "A moment of change:\n1.50 s:{b}1.62 s:{b}When does it sound?<end_of_turn>\n<start_of_turn>model\n"
)
GEMMA4 = (
    "<bos><|turn>system\nYou plan sounds.<turn|>\n<|turn>user\nThe whole clip:\n0.00 s:{a}0.51 s:{a}1.50 s:{a}"
    "A moment of change:\n1.50 s:{b}1.62 s:{b}When does it sound?<turn|>\n<|turn>model\n"
)
PROMPTS = {
    "qwen3_vl": (QWEN, "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"),
    "qwen_omni": (QWEN, "<|vision_bos|>", "<|IMAGE|>", "<|vision_eos|>"),
    "idefics3": (IDEFICS, "<fake_token_around_image><global-img>", "<image>", "<fake_token_around_image>"),
    "smolvlm": (IDEFICS, "<fake_token_around_image><global-img>", "<image>", "<fake_token_around_image>"),
    "gemma3": (GEMMA, "\n\n<start_of_image>", "<image_soft_token>", "<end_of_image>\n\n"),
    "qwen3_5": (QWEN + "<think>\n\n</think>\n\n", "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"),
    "internvl": (QWEN, "<img>", "<IMG_CONTEXT>", "</img>"),
    "gemma4": (GEMMA4, "<|image>", "<|image|>", "<image|>"),
}
PATCHES = {"qwen3_vl": (6, 4), "qwen_omni": (6, 4), "qwen3_5": (6, 4), "gemma4": (63, 64)}
"""Number of patches of a frame of 40 × 48 and of 36 × 36, if it is not 4."""


def made(folder, **options):
    return TransformersChat(str(folder), device="cpu", **{"max_tokens": 12, "frames_as": "images"} | options)


def slow_and_fast(asking):
    return (
        asking.view(0.0, 0.5125, 1.5, seed=1),
        asking.view(1.5, 1.625, label="A moment of change", seed=2, size=(36, 36)),
    )


@ALL
def test_the_network_is_given_the_frames_in_order_with_their_times(family, folders, asking):
    chat, views = made(folders(family)), slow_and_fast(asking)
    calls = asking.recorded(chat)
    (answer,) = chat.answer([asking.question(*views)])
    ((given, _),) = calls
    template, start, patch, end = PROMPTS[family]
    for name, patches in zip("ab", PATCHES.get(family, (4, 4)), strict=True):
        template = template.replace(f"{{{name}}}", start + patch * patches + end)
    assert chat._processor.tokenizer.decode(given["input_ids"][0]) == template
    assert answer.prompt_tokens == given["input_ids"].shape[1]
    # the pixels are those of the family's processor, made from its published configuration without a chat
    at = folders(family) / ("processor_config.json" if family == "gemma4" else "preprocessor_config.json")
    stated = json.loads(at.read_text())
    stated = stated.get("image_processor", stated)
    stated |= {"idefics3": SINGLE, "smolvlm": SINGLE, "internvl": {"crop_to_patches": False}}.get(family, {})
    images = [Image.fromarray(f.permute(1, 2, 0).numpy()) for shown in views for f in shown.frames]
    expected = IMAGE_PROCESSORS[family](**stated)([images], return_tensors="pt")
    assert torch.equal(given["pixel_values"], expected["pixel_values"])
    assert given["pixel_values"].std() > 0.1
    for name in ("image_grid_thw", "pixel_attention_mask", "image_position_ids"):
        assert (name in given) == (name in expected)
        assert name not in given or torch.equal(given[name], expected[name])


@ALL
def test_an_answer_depends_on_each_frame_and_on_the_text(family, folders, asking):
    chat = made(folders(family))
    views = slow_and_fast(asking)
    plain = asking.question(*views)
    changed = views[1].frames.clone()
    changed[1] = 255 - changed[1]
    other_frame = asking.question(views[0], type(views[1])(changed, views[1].times_s, views[1].label))
    answers = chat.answer([plain, other_frame, asking.question(*views, text="Where is it?")])
    assert len({answer.text for answer in answers}) == 3


@ALL
def test_a_batch_gives_the_answers_of_single_questions(family, folders, asking):
    chat = made(folders(family), batch_size=8, max_tokens=16)
    said = "It sounds at 0.50 s and once more at the very end of the clip."
    questions = [
        asking.question(*slow_and_fast(asking)),
        asking.question(asking.view(0.0, seed=5), text="What is it, in one word?"),
        asking.question(asking.view(0.0, 0.5, seed=6, size=(60, 30)), corrections=((said, "The clip ends at 0.4 s."),)),
        asking.question(text="No frames?"),
    ]
    if chat.hears:
        noise = torch.randn(20_000, generator=torch.Generator().manual_seed(3))
        questions += [asking.question(asking.view(0.0, 1.0), audio=noise), asking.question(audio=noise[:7000])]
        questions += [asking.question(asking.view(0.0, seed=8), text="And this?", audio=noise[3000:9000])]
    calls = asking.recorded(chat)
    together = chat.answer(questions)
    kinds = {frozenset(given) for given, _ in calls}
    batched = [row.tolist() for _, tokens in calls for row in tokens]
    assert len(batched) == len(questions) > len(calls) == len(kinds)  # one batch for each kind of input
    calls.clear()
    single = [chat.answer([question])[0] for question in questions]
    assert together == single
    assert sorted(row for _, tokens in calls for row in tokens.tolist()) == sorted(batched)
    assert all(isinstance(answer, Answer) and answer.tokens == 16 for answer in together)


@pytest.mark.parametrize("family", ["qwen3_vl", "gemma3"])
def test_tokens_are_the_most_probable_whatever_the_published_options_of_sampling(family, folders, asking):
    chat = made(folders(family), max_tokens=6)
    calls = asking.recorded(chat)
    chat.answer([asking.question(asking.view(0.0, 0.5))])
    ((given, tokens),) = calls
    assert json.loads((folders(family) / "generation_config.json").read_text())["do_sample"] is True
    network = AutoModelForMultimodalLM.from_pretrained(folders(family)).eval()
    given = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
    found = []
    for _ in range(6):
        with torch.no_grad():
            found.append(int(network(**given, use_cache=False).logits[0, -1].argmax()))
        given["input_ids"] = torch.cat([given["input_ids"], torch.tensor([[found[-1]]])], 1)
        given["attention_mask"] = torch.ones_like(given["input_ids"])
        for name in ("mm_token_type_ids", "token_type_ids"):
            if name in given:
                given[name] = torch.cat([given[name], torch.zeros(1, 1, dtype=torch.long)], 1)
    assert found == tokens[0].tolist()


def test_audio_comes_after_the_frames_as_the_features_of_the_family(folders, asking):
    chat = made(folders("qwen_omni"))
    audio = torch.randn(24_000, generator=torch.Generator().manual_seed(1)) / 10
    calls = asking.recorded(chat)
    (answer,) = chat.answer([asking.question(asking.view(0.0, 1.0, seed=1), audio=audio)])
    ((given, _),) = calls
    extractor = WhisperFeatureExtractor(feature_size=128, chunk_length=6)
    options = {"sampling_rate": 16_000, "padding": "max_length", "return_attention_mask": True}
    expected = extractor(audio.numpy(), return_tensors="pt", **options)
    assert torch.equal(given["input_features"], expected["input_features"])
    assert torch.equal(given["feature_attention_mask"], expected["attention_mask"])
    text = chat._processor.tokenizer.decode(given["input_ids"][0])
    # 24,000 samples are 150 frames of 10 ms; two halvings leave 37 tokens
    heard = "\nThe audio of the clip:<|audio_bos|>" + "<|AUDIO|>" * 37 + "<|audio_eos|>\nWhen does it sound?"
    assert heard in text
    assert text.index("1.00 s:") < text.index(heard)
    (silent,) = chat.answer([asking.question(asking.view(0.0, 1.0, seed=1), audio=torch.zeros(24_000))])
    assert silent.text != answer.text


def test_of_a_model_that_speaks_the_half_that_writes_is_loaded(folders):
    chat = made(folders("qwen_omni"))
    chat._load()
    whole = json.loads((folders("qwen_omni") / "config.json").read_text())
    assert whole["model_type"] == "qwen2_5_omni"
    assert {"talker_config", "token2wav_config"} <= whole.keys()
    assert type(chat._network).__name__ == "Qwen2_5OmniThinkerForConditionalGeneration"
    assert not any("talker" in name or "token2wav" in name for name, _ in chat._network.named_parameters())


def test_audio_that_cannot_be_heard_is_one_error_of_its_question(folders, asking):
    deaf, omni = made(folders("idefics3")), made(folders("qwen_omni"))
    assert (deaf.hears, omni.hears) == (False, True)
    silent = asking.question(asking.view(0.0))
    refused, answered = deaf.answer([asking.question(asking.view(0.0), audio=torch.zeros(16_000)), silent])
    assert isinstance(refused, PlanError)
    assert str(refused).endswith("takes no audio; ask without it, or use a model that hears, such as Qwen-Omni")
    assert isinstance(answered, Answer)
    refused, answered = omni.answer([asking.question(audio=torch.zeros(100_000)), silent])
    assert "the audio has 6.2 s; " in str(refused)
    assert str(refused).endswith("takes at most 6.0 s")
    assert isinstance(answered, Answer)


def test_an_answer_ends_where_the_model_ends_it(folders, asking, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(folders("qwen3_vl"), folder)
    whole = made(folder)
    calls = asking.recorded(whole)
    questions = [asking.question(asking.view(0.0, 0.5, seed=seed)) for seed in (1, 2)]
    first, second = whole.answer(questions)
    assert (first.is_complete, first.tokens) == (False, 12)
    rows = calls[0][1].tolist()
    end = next(token for token in rows[0][2:] if token not in rows[1])
    stated = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(stated | {"eos_token_id": [300, end]}))
    ended, other = made(folder).answer(questions)
    length = rows[0].index(end)
    tokenizer = whole._processor.tokenizer
    expected = tokenizer.decode(rows[0][:length], skip_special_tokens=True).strip()
    assert ended == Answer(expected, first.prompt_tokens, length + 1, is_complete=True)
    assert other == second


def test_corrections_are_turns_of_the_model_and_the_user(folders, asking):
    chat = made(folders("gemma3"))
    calls = asking.recorded(chat)
    corrections = (("It barks at 12 s.", "The clip lasts 9 s."), ("It barks at 11 s.", "That is after the end, too."))
    chat.answer([asking.question(asking.view(0.0), corrections=corrections)])
    text = chat._processor.tokenizer.decode(calls[0][0]["input_ids"][0])
    assert text.partition("When does it sound?")[2] == (
        "<end_of_turn>\n<start_of_turn>model\nIt barks at 12 s.<end_of_turn>\n"
        "<start_of_turn>user\nThe clip lasts 9 s.<end_of_turn>\n"
        "<start_of_turn>model\nIt barks at 11 s.<end_of_turn>\n"
        "<start_of_turn>user\nThat is after the end, too.<end_of_turn>\n<start_of_turn>model\n"
    )


STRICT = """{%- for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}
{{- message.role + ':' }}{% for part in message.content %}{{ part.text }}{% endfor %}{{ '|' }}{% endfor %}"""
SILENT = """{%- for m in messages if m.role != 'system' %}{{ m.role + ':' }}
{%- for part in m.content %}{{ part.text }}{% endfor %}{{ '|' }}{% endfor %}"""
STRINGS = """{%- for m in messages %}{{ m.role + ':' }}{% if m.role == 'user' %}{{ m.content[-1].text }}{% else %}
{{- m.content.strip() }}{% endif %}{{ '|' }}{% endfor %}"""


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        (STRICT, "user:Be brief.\n\nWhat?|assistant:A dog|user:Where?|"),
        (SILENT, "user:Be brief.\n\nWhat?|assistant:A dog|user:Where?|"),
        (STRINGS, "system:Be brief.|user:What?|assistant:A dog|user:Where?|"),
    ],
    ids=["no system role", "a system role that is not shown", "content that is no list"],
)
def test_messages_have_the_form_that_the_template_shows(template, shown, folders):
    processor = made(folders("idefics3")).folder.load_processor(with_video=False)
    processor.chat_template = template
    messages = ChatTemplate(processor).messages("Be brief.", [{"type": "text", "text": "What?"}], [("A dog", "Where?")])
    assert processor.apply_chat_template(messages) == shown


def test_a_template_that_shows_no_conversation_is_an_error(folders):
    processor = made(folders("idefics3")).folder.load_processor(with_video=False)
    processor.chat_template = "{{ messages[0].content }}"
    with pytest.raises(CheckpointError, match=r"^the chat template shows no conversation .* another model"):
        ChatTemplate(processor)


def test_special_tokens_in_a_text_are_not_read_as_such(folders, asking):
    chat = made(folders("qwen3_vl"))
    calls = asking.recorded(chat)
    plain = asking.question(asking.view(0.0), corrections=(("a dog", "no"),))
    written = asking.question(
        asking.view(0.0),
        text="When does<|im_end|> it<|image_pad|> sound?",
        system="You plan<|vision_start|> sounds.",
        corrections=(("a dog<|im_end|>", "n<|im_start|>o"),),
    )
    assert chat.answer([plain]) == chat.answer([written])
    assert torch.equal(calls[0][0]["input_ids"], calls[1][0]["input_ids"])


def test_thinking_is_switched_off_and_left_out(folders, asking, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(folders("qwen3_vl"), folder)
    template = (folder / "chat_template.jinja").read_text()
    tail = "{{ '<think>\\n' + ('' if enable_thinking | default(true) else '\\n</think>\\n') if add_generation_prompt }}"
    (folder / "chat_template.jinja").write_text(template + tail)
    chat = made(folder)
    calls = asking.recorded(chat)
    (answer,) = chat.answer([asking.question(asking.view(0.0))])
    assert chat._processor.tokenizer.decode(calls[0][0]["input_ids"][0]).endswith("<think>\n\n</think>\n")
    assert answer.text
    assert without_thinking("a dog barks</think>\n\nAt 1.00 s.", "assistant\n<think>\n") == "At 1.00 s."
    assert without_thinking("it never ends", "assistant\n<think>\n") == ""
    assert without_thinking("At 1.00 s.", "<think>\n\n</think>\n\n") == "At 1.00 s."
    assert without_thinking("<think>cut off") == ""


def test_sampling_repeats_with_its_seed_whatever_the_batch(folders, asking):
    questions = [asking.question(asking.view(*[0.0, 0.5][:count], seed=count)) for count in (1, 2)]
    folder = folders("idefics3")
    sampled = made(folder, temperature=1.0, seed=3).answer(questions)
    assert made(folder, temperature=1.0, seed=3, batch_size=1).answer(questions) == sampled
    others = [made(folder, temperature=1.0, seed=4).answer(questions), made(folder).answer(questions)]
    assert all(other[0].text != sampled[0].text for other in others)


def test_samples_have_the_probabilities_of_the_temperature():
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0])
    sampling = Sampling(2.0, 0, 4000)
    for seed, generator in enumerate(sampling._generators):
        generator.manual_seed(seed)
    drawn = sampling(torch.zeros(4000, 1), logits.expand(4000, 4)).argmax(1)
    shares = torch.bincount(drawn, minlength=4) / 4000
    assert torch.allclose(shares, (logits / 2.0).softmax(0), atol=0.025)


def test_memory_that_does_not_suffice_halves_the_batch_down_to_the_question_that_fails(folders, asking, monkeypatch):
    chat = made(folders("idefics3"), batch_size=4)
    questions = [asking.question(asking.view(*range(count), seed=count)) for count in (1, 2, 3, 4)]
    expected = chat.answer(questions)
    generate, sizes = type(chat._network).generate, []

    def limited(**inputs):
        images = int(inputs["pixel_attention_mask"].flatten(2).any(-1).sum())
        sizes.append(len(inputs["input_ids"]))
        if images > 3:
            raise torch.OutOfMemoryError
        return generate(chat._network, **inputs)

    monkeypatch.setattr(chat._network, "generate", limited)
    *answers, failed = chat.answer(questions)
    assert answers == expected[:3]
    assert sizes == [4, 2, 2, 1, 1]
    assert isinstance(failed, PlanError)
    assert str(failed).startswith("the memory does not suffice for a question with 4 frames to ")


def test_a_question_that_is_too_long_fails_alone(folders, asking):
    chat = made(folders("qwen3_vl"), max_tokens=3000)
    chat._load()
    chat._network.generation_config.max_new_tokens = 4
    short, long = asking.question(asking.view(0.0)), asking.question(asking.view(0.0), text="very " * 300)
    failed, answered, again = chat.answer([long, short, short])
    assert isinstance(answered, Answer)
    assert answered == again
    assert str(failed) == (
        f"a question with 1 frames has {failed_tokens(chat, long):,} tokens and its answer up to 3,000; "
        f"{chat.model} reads 4,096: show fewer or smaller frames"
    )


def failed_tokens(chat, question):
    return int(chat._inputs([question])["attention_mask"].sum())


def test_an_error_of_the_processor_is_that_of_its_question(folders, asking):
    chat = made(folders("qwen3_vl"))
    flat = asking.question(asking.view(0.0, size=(2, 800)))  # the family refuses such a shape
    refused, answered = chat.answer([flat, asking.question(asking.view(0.0))])
    assert isinstance(answered, Answer)
    assert isinstance(refused, PlanError)
    assert "cannot answer: ValueError: " in str(refused)
    assert "aspect ratio" in str(refused)
    assert "\n" not in str(refused)


def test_a_view_without_frames_is_left_out(folders, asking):
    chat = made(folders("gemma3"))
    bare, shown = asking.question(text="What?"), asking.question(asking.view(), text="What?")
    first, second = chat.answer([bare, shown])
    assert isinstance(first, Answer)
    assert first == second


def test_weights_are_loaded_by_the_first_question_and_again_after_they_were_unloaded(folders, asking):
    chat = made(folders("idefics3"))
    assert chat.identity
    assert chat._network is None
    assert chat.answer([]) == []
    assert chat._network is None
    first = chat.answer([asking.question(asking.view(0.0))])
    assert chat._network is not None
    chat.unload()
    assert chat._network is None
    assert chat.answer([asking.question(asking.view(0.0))]) == first


def test_the_identity_names_what_answers_depend_on(folders, tmp_path):
    folder = tmp_path / "place" / "model"
    shutil.copytree(folders("qwen3_vl"), folder)
    identity = made(folder).identity
    version = identity.partition("@")[2].partition(" ")[0]
    import transformers

    assert identity == (
        f"model@{version} (dtype auto, frames_as images, max_tokens 12, transformers {transformers.__version__})"
    )
    other = tmp_path / "elsewhere" / "model"
    shutil.copytree(folder, other)
    assert made(other).identity == identity == made(folder, batch_size=1, seed=5).identity
    changes = {"max_tokens": 13, "dtype": "fp32", "temperature": 0.5, "quantisation": "4bit"}
    others = {made(folder, **{name: value}).identity for name, value in changes.items()}
    others |= {made(folder, temperature=0.5, seed=1).identity, made(folders("idefics3")).identity}
    assert len(others | {identity}) == 7
    data = bytearray((other / "model.safetensors").read_bytes())
    data[-3] ^= 1  # of the last tensor
    (other / "model.safetensors").write_bytes(data)
    assert made(other).identity != identity
    shutil.copy(folder / "model.safetensors", other)
    assert made(other).identity == identity
    (other / "chat_template.jinja").write_text("another")
    assert made(other).identity != identity


def test_shards_bf16_and_layers_on_disk(folders, asking, tmp_path):
    questions = [asking.question(*slow_and_fast(asking)), asking.question(asking.view(0.0))]
    chat = made(folders("qwen3_vl"))
    expected = chat.answer(questions)
    sharded = tmp_path / "sharded"
    shutil.copytree(folders("qwen3_vl"), sharded, ignore=shutil.ignore_patterns("*.safetensors"))
    AutoModelForMultimodalLM.from_pretrained(folders("qwen3_vl")).save_pretrained(sharded, max_shard_size="60KB")
    assert len([*sharded.glob("*.safetensors")]) > 2
    assert made(sharded).answer(questions) == expected
    pytest.importorskip("accelerate")
    limited = {"offload": True, "max_memory": {"cpu": "200KB"}, "offload_folder": str(tmp_path / "disk")}
    offloaded = made(sharded, **limited)
    assert offloaded.answer(questions) == expected
    assert {*offloaded._network.hf_device_map.values()} == {"cpu", "disk"}
    half = made(sharded, dtype="bf16")
    calls = asking.recorded(half)
    assert all(isinstance(answer, Answer) for answer in half.answer(questions))
    assert half._network.dtype == calls[0][0]["pixel_values"].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; expected 1 to 1024"),
        ({"temperature": -1.0}, "temperature is -1; expected 0 to 10"),
        ({"max_memory": {"cpu": "1GiB"}}, "max_memory and offload_folder apply to offload: true only"),
    ],
)
def test_values_that_are_not_valid(options, message):
    with pytest.raises(ValueError, match=message):
        TransformersChat("model", **options)


def test_frames_as_videos_need_torchvision_and_a_family_that_takes_them(folders, monkeypatch):
    with pytest.raises(CheckpointError, match="has no form for videos; use frames_as: images"):
        _ = made(folders("idefics3"), frames_as="video").shows_video
    monkeypatch.setitem(__import__("sys").modules, "torchvision", None)
    assert made(folders("qwen3_vl"), frames_as="auto").shows_video is False
    with pytest.raises(CheckpointError, match=r"^frames_as: video needs torchvision .*prismaudio-vlm\[video\]"):
        _ = made(folders("qwen3_vl"), frames_as="video").shows_video


def test_the_times_of_videos_are_exact_to_the_millisecond():
    from prismaudio_vlm.chat import View
    from prismaudio_vlm.transformers_chat import _metadata

    times_s = (3.0, 3.0625, 3.12345, 3.1875)
    told = _metadata(View(torch.zeros(4, 3, 18, 32, dtype=torch.uint8), times_s))
    assert np.allclose(told.timestamps, times_s, atol=5e-4)
    assert (told.width, told.height) == (32, 18)
    assert told.duration == pytest.approx(3.25, abs=1e-3)
    assert told.total_num_frames == 3250
