"""Models that cannot be had, are damaged or do not see frames are one line each."""

import importlib.util
import json
import shutil
import subprocess
import sys

import pytest
import torch
import transformers
from hub_server import serving
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2AudioConfig, Qwen3VLProcessor

from prismaudio.errors import CheckpointError
from prismaudio_vlm.model_folders import CHECKED, ModelFolder, without_video
from prismaudio_vlm.transformers_chat import TransformersChat


@pytest.fixture
def folder(folders, tmp_path):
    """A model that may be damaged."""
    shutil.copytree(folders("qwen3_vl"), tmp_path / "model")
    return tmp_path / "model"


def refusal(folder, asking, **options):
    """What is said of a model that cannot answer."""
    with pytest.raises(CheckpointError) as raised:
        TransformersChat(str(folder), device="cpu", **options).answer([asking.question(asking.view(0.0))])
    assert "\n" not in str(raised.value)
    return str(raised.value)


def rewritten(path, **changes):
    stated = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in stated.items() if value is not None}))


def test_a_folder_that_is_not_there_names_a_model(asking, tmp_path):
    message = refusal(tmp_path / "none", asking)
    assert message.startswith(f"no folder {tmp_path / 'none'}; expected one with a model in transformers' layout")
    assert message.endswith("such as Qwen/Qwen3-VL-4B-Instruct")
    assert refusal(tmp_path, asking).startswith(f"{tmp_path} has no config.json; expected the folder Qwen3-VL")
    assert "the revision v1 applies to repositories only" in refusal(tmp_path, asking, revision="v1")


def test_damaged_configurations(folder, asking):
    (folder / "config.json").write_text('{"model_type": "qwen3_vl", ')
    assert refusal(folder, asking).startswith(f"{folder / 'config.json'} is damaged: Expecting property name")
    (folder / "config.json").write_text("[]")
    assert refusal(folder, asking) == f"{folder / 'config.json'} contains a list; expected an object"
    (folder / "config.json").write_text('{"model_type": "qwen99_vl"}')
    assert refusal(folder, asking).startswith(f"{folder / 'config.json'} is not valid: The checkpoint you are trying")
    (folder / "config.json").write_text('{"model_type": "qwen3_vl", "text_config": {"hidden_size": "wide"}}')
    assert refusal(folder, asking).startswith(f"{folder / 'config.json'} is not valid: ")


def test_code_of_a_repository_is_not_run(folder, asking):
    (folder / "own.py").write_text("raise SystemExit('it ran')")
    auto = {"AutoConfig": "own.Config", "AutoProcessor": "own.Processor", "AutoModelForMultimodalLM": "own.Model"}
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": auto}))
    assert refusal(folder, asking).startswith(f"{folder / 'config.json'} is not valid: ")
    assert "it ran" not in refusal(folder, asking)


@pytest.mark.parametrize("kind", ["llama", "qwen2_audio"])
def test_a_model_that_does_not_see(kind, asking, tmp_path):
    if kind == "llama":
        sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
        LlamaForCausalLM(LlamaConfig(vocab_size=16, **sizes)).save_pretrained(tmp_path)
    else:
        Qwen2AudioConfig().save_pretrained(tmp_path)
    assert refusal(tmp_path, asking) == (
        f"{tmp_path} is a {kind}, which does not see frames; expected a vision-language model of transformers, such as "
        "Qwen/Qwen3-VL-4B-Instruct"
    )


def test_weights_in_other_formats_are_not_read(folder, asking):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    message = refusal(folder, asking)
    assert message.startswith(f"{folder} has no model.safetensors, and other formats are not read, since they can run")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../elsewhere.safetensors"}}')
    assert refusal(folder, asking).startswith(f"{folder / 'model.safetensors.index.json'} is damaged: ")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    assert refusal(folder, asking).startswith(f"{folder} has no model-1.safetensors, and other formats")


def test_damaged_weights(folder, asking):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1000])
    assert refusal(folder, asking).startswith(f"cannot load the weights of {folder}: ")
    for damaged in (whole[:100], b"", b"\xff" * 200):
        (folder / "model.safetensors").write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"model.safetensors is truncated or damaged \("):
            _ = ModelFolder(folder).version


def test_weights_that_do_not_fit(folder, asking):
    weights = load_file(folder / "model.safetensors")
    name = "model.language_model.layers.1.mlp.up_proj.weight"
    save_file({key: value for key, value in weights.items() if key != name}, folder / "model.safetensors")
    assert refusal(folder, asking) == f"the weights of {folder} do not fit its config.json: missing {name}"
    save_file(weights | {name: torch.zeros(3, 3)}, folder / "model.safetensors")
    assert refusal(folder, asking).startswith(f"cannot load the weights of {folder}: ")


@pytest.mark.parametrize("name", ["tokenizer.json", "preprocessor_config.json"])
def test_a_part_of_the_processor_is_missing_or_damaged(name, folder, asking):
    (folder / name).write_text("{")
    assert refusal(folder, asking).startswith(
        (f"cannot load the processor of {folder}: ", f"{folder / name} is damaged")
    )
    (folder / name).unlink()
    assert refusal(folder, asking).startswith(f"cannot load the processor of {folder}: ")


def test_a_model_without_a_chat_template(folder, asking):
    (folder / "chat_template.jinja").unlink()
    assert refusal(folder, asking).startswith(f"{folder} has no chat template; expected a model that was trained to")
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %"
    rewritten(folder / "tokenizer_config.json", chat_template=template)
    assert refusal(folder, asking).startswith("the chat template shows no conversation")


def test_packages_that_are_not_installed(folder, folders, asking, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in hidden else find(name, *a))
    hidden = {"bitsandbytes"}
    message = refusal(folder, asking, quantisation="4bit")
    assert message == "quantisation 4bit needs the package bitsandbytes: pip install bitsandbytes"
    hidden = {"accelerate"}
    message = refusal(folder, asking, offload=True)
    assert message == "placing a model on several devices needs the package accelerate: pip install accelerate"
    monkeypatch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", None)
    message = refusal(folders("smolvlm"), asking)
    assert message.endswith(
        ": Package `num2words` is required to run SmolVLM processor. Install it with `pip install num2words`."
    )


def test_a_processor_is_made_without_torchvision(folders):
    """What :func:`without_video` relies on."""
    note = f"checked with transformers {CHECKED}, installed {transformers.__version__}"
    processor = ModelFolder(folders("qwen3_vl")).load_processor(with_video=False)
    assert isinstance(processor, Qwen3VLProcessor), note
    assert processor.video_processor is None, note
    assert type(processor.image_processor).__name__ == "Qwen2VLImageProcessorPil", note
    parts = {"image_processor": processor.image_processor, "tokenizer": processor.tokenizer}
    assert without_video(Qwen3VLProcessor)(**parts).video_processor is None, note
    for family, other in ((Qwen3VLProcessor, None), (without_video(Qwen3VLProcessor), 3)):
        with pytest.raises((TypeError, AttributeError)):  # which of them, depends on whether torchvision is installed
            family(**parts, video_processor=other)


def test_the_family_is_found_without_its_name_in_the_files(folder):
    assert ModelFolder(folder).processor_class is Qwen3VLProcessor
    rewritten(folder / "preprocessor_config.json", processor_class=None)
    found = ModelFolder(folder)
    assert found.processor_class is Qwen3VLProcessor
    assert found.takes_video
    assert not found.hears


DRIVER = """
import json, sys
from prismaudio.errors import PrismAudioError
from prismaudio_vlm.chat import Question
from prismaudio_vlm.transformers_chat import TransformersChat
for model, revision, is_asked in json.loads(sys.argv[1]):
    try:
        chat = TransformersChat(model, revision, device="cpu", max_tokens=3)
        said = chat.identity
        if is_asked:
            said = chat.answer([Question("", (), "What?")])[0].text
    except PrismAudioError as error:
        said = f"error: {error}"
    print(json.dumps(said))
"""


def asked(server, home, *questions):
    """What a process says that uses a hub, which its client reads from the environment when it is imported."""
    process = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(questions)],
        env=server.environment(home), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return [json.loads(line) for line in process.stdout.splitlines()]


def test_a_model_of_a_hub(folders, tmp_path):
    files = {path.name: path.read_bytes() for path in folders("qwen3_vl").iterdir()}
    others = {"pytorch_model.bin": b"x", "onnx/model.safetensors": b"x", "onnx/config.json": b"{}", "README.md": b"x"}
    with serving() as server:
        commit = server.repository("owner/model").commit(files | others, "v1")
        newer = server.repository("owner/model").commit(files | {"chat_template.jinja": b"another"})
        home = tmp_path / "home"
        identity, answer, other = asked(
            server, home, ["owner/model", "v1", False], ["owner/model", "v1", True], ["owner/model", None, False]
        )
        assert identity.startswith(f"owner/model@{commit[:12]} (")
        assert other.startswith(f"owner/model@{newer[:12]} (")
        assert not answer.startswith("error")
        small = {name for name in files if not name.endswith(".safetensors")}
        downloaded = server.downloaded()
        weights = downloaded.index("model.safetensors")
        assert set(downloaded[:weights]) == small  # the identity needs no weights
        assert set(downloaded) == small | {"model.safetensors"}
        assert downloaded.count("model.safetensors") == 1
    assert asked(server, home, ["owner/model", "v1", True]) == [answer]  # without the hub


def test_models_that_a_hub_does_not_give(folders, tmp_path):
    files = {path.name: path.read_bytes() for path in folders("idefics3").iterdir()}
    bare = {name: data for name, data in files.items() if not name.endswith(".safetensors")}
    with serving() as server:
        server.repository("owner/model").commit(files)
        server.repository("owner/pickles").commit(bare | {"pytorch_model.bin": b"x"})
        server.repository("owner/nothing").commit({"README.md": b"x"})
        server.repository("owner/gated").commit(files)
        server.repository("owner/gated").gated = True
        names = ("owner/pickles", "owner/nothing", "owner/gated", "owner/none")
        said = asked(server, tmp_path, *[[name, None, True] for name in names], ["owner/model", "v9", True])
    (unreachable,) = asked(server, tmp_path / "empty", ["owner/model", None, True])
    pickles, nothing, gated, none, revision = said
    assert pickles.startswith(
        "error: owner/pickles on the hub has no model.safetensors, and other formats are not read"
    )
    assert nothing.startswith("error: owner/nothing on the hub has no config.json; expected a model in transformers'")
    assert gated.startswith("error: owner/gated is gated: accept its licence on https://huggingface.co/owner/gated and")
    assert none.startswith("error: no folder owner/none, and no such repository on the hub, or it is private")
    assert revision == "error: owner/model on the hub has no revision v9; leave it out for the newest"
    assert unreachable.startswith("error: no folder owner/model, and the hub does not give it (")
    assert unreachable.endswith("); get its files from https://huggingface.co/owner/model, and give their folder")
