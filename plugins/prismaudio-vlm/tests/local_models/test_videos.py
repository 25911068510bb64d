"""Frames in the families' own form for videos, which needs torchvision: run by ``nox -s oracles``."""

import json

import pytest
import torch
from transformers import AutoVideoProcessor

from prismaudio_vlm.transformers_chat import TransformersChat

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module", autouse=True)
def _torchvision():
    pytest.importorskip("torchvision")


def made(folder, **options):
    return TransformersChat(str(folder), device="cpu", **{"max_tokens": 12} | options)


def slow_and_fast(asking):
    """Three frames of which two are not at the times of a constant rate, and four of a moment."""
    return (
        asking.view(0.0, 0.5125, 1.5, seed=1),
        asking.view(1.5, 1.625, 1.75, 1.875, label="A moment of change", seed=2, size=(36, 36)),
    )


ASKED = "<|im_start|>system\nYou plan sounds.<|im_end|>\n<|im_start|>user\n"
WHOLE, MOMENT = (
    "The whole clip (frames at 0.00, 0.51, 1.50 s):",
    "\nA moment of change (frames at 1.50, 1.62, 1.75, 1.88 s):",
)
END = "\nWhen does it sound?<|im_end|>\n<|im_start|>assistant\n"


def qwen3(marks, patches):
    """A video of Qwen3-VL: the mean time of two frames, then their patches; the template adds the outer marks."""
    shown = "".join(f"<{mark} seconds><|vision_start|>{'<|video_pad|>' * patches}<|vision_end|>" for mark in marks)
    return f"<|vision_start|>{shown}<|vision_end|>"


def omni(patches):
    return f"<|vision_bos|>{'<|VIDEO|>' * patches}<|vision_eos|>"


def llama3(marks):
    return ",".join(f"Time {mark}s:<video>" for mark in marks)


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen_omni", "video_llama3"])
def test_the_network_is_given_the_videos_with_their_times(family, folders, asking):
    chat, views = made(folders(family)), slow_and_fast(asking)
    assert chat.shows_video
    assert "frames_as video" in chat.identity
    calls = asking.recorded(chat)
    (answer,) = chat.answer([asking.question(*views)])
    ((given, _),) = calls
    assert answer.prompt_tokens == given["input_ids"].shape[1]
    shown = [view.frames for view in views]
    options = {"do_sample_frames": False, "return_tensors": "pt"}
    if family != "video_llama3":  # steps of two frames
        shown[0] = torch.cat([shown[0], shown[0][-1:]])
        options["cap_pixels_per_frame"] = True
    if family == "qwen_omni":  # what the processor of this family asks of that of videos
        options["size"] = {"shortest_edge": 128 * 28 * 28, "longest_edge": 768 * 28 * 28}
    expected = AutoVideoProcessor.from_pretrained(folders(family))(shown, **options)
    assert torch.equal(given["pixel_values_videos"], expected["pixel_values_videos"])
    assert torch.equal(given["video_grid_thw"], expected["video_grid_thw"])
    text = chat._processor.tokenizer.decode(given["input_ids"][0])
    counts = [int(grid.prod()) // 4 for grid in given["video_grid_thw"]]
    if family == "qwen3_vl":
        first, second = qwen3(["0.3", "1.5"], counts[0] // 2), qwen3(["1.6", "1.8"], counts[1] // 2)
    elif family == "qwen_omni":
        first, second = map(omni, counts)
        # two frames a step: of the median interval of 0.75 s, and of 0.125 s
        assert torch.allclose(given["video_second_per_grid"], torch.tensor([1.5, 0.25]))
    else:
        marks = [["0.0", "0.5", "1.5"], ["1.5", "1.6", "1.8", "1.9"]]
        first, second = map(llama3, marks)
        for part in (first, second):
            assert part.count("Time") == len(marks[part is second])
        text = text.replace("<video>" * 2, "<video>")
        while "<video><video>" in text:
            text = text.replace("<video><video>", "<video>")
    assert text == ASKED + WHOLE + first + MOMENT + second + END


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen_omni", "video_llama3"])
def test_a_batch_of_videos_gives_the_answers_of_single_questions(family, folders, asking):
    chat = made(folders(family), batch_size=4)
    questions = [
        asking.question(*slow_and_fast(asking)),
        asking.question(asking.view(0.0, seed=5), text="What is it, in one word?"),
        asking.question(asking.view(0.0, 0.5, seed=6, size=(60, 30)), corrections=(("A dog.", "It is none."),)),
    ]
    calls = asking.recorded(chat)
    together = chat.answer(questions)
    assert len(calls) == 1
    assert together == [chat.answer([question])[0] for question in questions]
    assert len({answer.text for answer in together}) == 3


def test_videos_of_qwen_omni_are_placed_in_time(folders, asking):
    """The distance of frames in seconds changes the positions that the network gives them, and so the answer."""
    chat = made(folders("qwen_omni"))
    near, far = asking.view(0.0, 0.125, 0.25, 0.375, seed=4), asking.view(0.0, 4.0, 8.0, 12.0, seed=4)
    calls = asking.recorded(chat)
    chat.answer([asking.question(near), asking.question(far)])
    ((given, _),) = calls
    assert torch.allclose(given["video_second_per_grid"].sort().values, torch.tensor([0.25, 8.0]))
    positions, _ = chat._network.get_rope_index(
        given["input_ids"][:1],
        video_grid_thw=given["video_grid_thw"][:1],
        attention_mask=given["attention_mask"][:1],
        second_per_grids=given["video_second_per_grid"][:1],
    )
    seconds = float(given["video_second_per_grid"][0])
    is_video = given["input_ids"][0] == chat._network.config.video_token_id
    steps = positions[0, 0, is_video].unique()
    assert (steps[1] - steps[0]).item() == int(seconds * 25)


def test_images_are_those_of_pillow_beside_torchvision_too(folders, asking):
    questions = [asking.question(*slow_and_fast(asking))]
    for family in ("idefics3", "smolvlm", "gemma3"):
        chat = made(folders(family))
        assert not chat.shows_video
        assert type(chat.folder.load_processor(with_video=False).image_processor).__name__.endswith("Pil")
        assert chat.answer(questions) == made(folders(family), frames_as="images").answer(questions)
    stated = json.loads((folders("qwen3_vl") / "preprocessor_config.json").read_text())
    assert stated["image_processor_type"] == "Qwen2VLImageProcessorFast"
    chat = made(folders("qwen3_vl"), frames_as="images")
    assert type(chat.folder.load_processor(with_video=False).image_processor).__name__ == "Qwen2VLImageProcessorPil"
