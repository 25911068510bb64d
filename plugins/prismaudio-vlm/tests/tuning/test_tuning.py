"""Fine-tuning of language models of reduced size: what is trained, on which tokens, and what is exported."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from lightning.pytorch import Trainer
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.checkpoints import load_components, loadable, save_components
from prismaudio.data.synthetic import SyntheticClips
from prismaudio.errors import CheckpointError, DataError, RecipeError, TrainingError
from prismaudio.plan import Plan
from prismaudio.registry import discover
from prismaudio.training.callbacks.ema import ExponentialMovingAverage
from prismaudio.training.callbacks.export import ExportComponents
from prismaudio.training.lora import Adapters
from prismaudio_vlm.local_planners import VlmPlanner
from prismaudio_vlm.reduced import save_reduced
from prismaudio_vlm.tuning import Tuning

from .tuning_runs import FULL, LORA, VIEWING, Clicks, fit, task

PAIRS = [SyntheticClips(0, 8, 1.0, 8.0, 16, 16_000).clip(number) for number in range(8)]
CLIPS, PLANS = ([pair[part] for pair in PAIRS] for part in (0, 1))
FAMILIES = pytest.mark.parametrize("family", ["qwen3_vl", "gemma3"])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The folder of a family of reduced size."""
    root = tmp_path_factory.mktemp("reduced")
    for family in ("qwen3_vl", "gemma3"):
        save_reduced(family, root / family)
    return root


def planner_of(folder, tuning=LORA, **options):
    planner = VlmPlanner(str(folder), tuning=tuning, retries=0, max_tokens=8, **{**VIEWING, **options})
    planner.use_dimensions(CORE_DIMENSIONS)
    planner.prepare_training()
    return planner


def trained_names(planner):
    return [name for name, weight in planner._network.named_parameters() if weight.requires_grad]


# The loss -------------------------------------------------------------------------------------------------------------
@FAMILIES
@pytest.mark.parametrize("ask", ["each", "together"])
def test_the_loss_is_that_of_the_tokens_of_the_answers_alone(family, ask, models):
    planner = planner_of(models / family, Tuning(None, pass_size=3), ask=ask)
    network, tokenizer = planner._network.eval(), planner._processor.tokenizer
    (end,) = {row[-1] for clip, plan in PAIRS for row in (one.answer for one in planner._examples(clip, plan))}
    assert tokenizer.decode(end) == {"qwen3_vl": "<|im_end|>", "gemma3": "<end_of_turn>"}[family]
    losses, count = [], 0
    for clip, plan in PAIRS[:3]:
        for example in planner._examples(clip, plan):
            inputs = planner._inputs([example.question])  # alone, so that nothing is padded
            answer, width = torch.tensor([example.answer]), inputs["input_ids"].shape[1]
            for name, value in inputs.items():
                if torch.is_tensor(value) and value.shape == (1, width):
                    more = {"input_ids": answer, "attention_mask": torch.ones_like(answer)}
                    inputs[name] = torch.cat([value, more.get(name, torch.zeros_like(answer))], 1)
            logits = network(**inputs).logits[0, width - 1 : -1]
            losses.append(cross_entropy(logits, answer[0], reduction="sum"))
            count += len(example.answer)
    expected = torch.stack(losses).sum() / count
    planner.eval()
    torch.testing.assert_close(planner.loss(CLIPS[:3], PLANS[:3])["text"], expected, rtol=2e-4, atol=0)


def test_questions_are_those_of_planning_with_the_reference_sections_before_each(models):
    planner = planner_of(models / "qwen3_vl")
    asked = []
    planner._answers = lambda questions: asked.extend(questions) or [(None, 0.0)] * len(questions)
    examples = list(planner._examples(CLIPS[0], PLANS[0]))
    texts = [planner._processor.tokenizer.decode(example.answer[:-1]) for example in examples]
    assert texts == [PLANS[0][dimension.name] for dimension in CORE_DIMENSIONS]
    with pytest.raises(AttributeError):  # the answers are None, after the question was asked
        planner.plan(CLIPS[0], CORE_DIMENSIONS[:1])
    assert asked[0].text == examples[0].question.text
    assert torch.equal(asked[0].views[0].frames, examples[0].question.views[0].frames)


def test_sections_follow_the_order_of_the_dimensions_and_may_be_missing(models, caplog):
    planner = planner_of(models / "qwen3_vl", ask="together")
    planner.use_dimensions([CORE_DIMENSIONS[3], CORE_DIMENSIONS[0], CORE_DIMENSIONS[1]])
    (example,) = planner._examples(CLIPS[0], PLANS[0].replace({"temporal": ""}))
    text = planner._processor.tokenizer.decode(example.answer[:-1])
    assert text == f"<Spatial> {PLANS[0]['spatial']} <Semantic> {PLANS[0]['semantic']}"
    assert example.question.text.split() == ["<Spatial>", "<Semantic>"]
    assert "clip click-0-0 has no temporal section" in caplog.text


@FAMILIES
def test_division_into_passes_does_not_change_the_loss(family, models):
    planner = planner_of(models / family, replace(LORA, pass_size=32)).eval()
    whole = planner.loss(CLIPS, PLANS)["text"]
    planner.tuning = replace(LORA, pass_size=5)
    torch.testing.assert_close(planner.loss(CLIPS, PLANS)["text"], whole, rtol=1e-4, atol=0)


# What is trained ------------------------------------------------------------------------------------------------------
@FAMILIES
def test_adapters_are_on_every_linear_layer_of_the_language_model_and_nowhere_else(family, models, caplog):
    caplog.set_level("INFO")
    planner = planner_of(models / family)
    names = trained_names(planner)
    assert len(names) == 2 * 14  # 7 linear layers in each of 2 layers
    assert all(".language_model.layers." in name and ".lora_" in name for name in names)
    hit = {name.split(".lora_")[0].rpartition(".")[2] for name in names}
    assert "14 linear layers of the language model (2 mlp.down_proj, " in caplog.text
    assert hit == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@FAMILIES
def test_the_paper_trains_projector_and_language_model(family, models):
    names = trained_names(planner_of(models / family, Tuning(None, projector=True)))
    part = {"qwen3_vl": ".merger.", "gemma3": "multi_modal_projector"}[family]
    assert any(part in name for name in names)
    assert any("lm_head" in name or "embed_tokens" in name for name in names)
    frozen = {"qwen3_vl": "visual.blocks", "gemma3": "vision_tower"}[family]
    assert not any(frozen in name for name in names)
    everything = planner_of(models / family, Tuning(None, projector=True, encoders=True))
    assert len(trained_names(everything)) == len(list(everything.parameters())) > len(names)


def test_trained_weights_are_float32_and_are_exported_as_they_came(models, tmp_path):
    source = tmp_path / "bf16"
    save_reduced("qwen3_vl", source)
    save_file(
        {name: value.bfloat16() for name, value in load_file(source / "model.safetensors").items()},
        source / "model.safetensors",
        {"format": "pt"},
    )
    stated = json.loads((source / "config.json").read_text()) | {"dtype": "bfloat16"}
    (source / "config.json").write_text(json.dumps(stated))
    for name, tuning in (("lora", LORA), ("full", Tuning(None, projector=True, encoders=True))):
        planner = planner_of(source, tuning)
        kinds = {weight.requires_grad: weight.dtype for weight in planner.parameters()}
        assert kinds == {True: torch.float32} | ({False: torch.bfloat16} if name == "lora" else {})
        save_components(tmp_path / name, {"planner": planner.trained()})
        written = load_file(tmp_path / name / "planner" / "model.safetensors")
        assert {value.dtype for value in written.values()} == {torch.bfloat16}
        assert json.loads((tmp_path / name / "planner" / "config.json").read_text())["dtype"] == "bfloat16"
    losses = fit(source, tmp_path / "run", LORA, steps=2, precision="bf16-mixed")
    assert losses["train_loss"].isfinite()
    assert losses["model.language_model.layers.0.mlp.up_proj.lora_B.default.weight"].abs().max() > 0


def test_what_cannot_be_trained(models):
    with pytest.raises(RecipeError, match="quantisation and offload are for inference"):
        planner_of(models / "qwen3_vl", offload=True)
    with pytest.raises(ValueError, match="pass_size is 0; expected 1 to 1024"):
        planner_of(models / "qwen3_vl", Tuning(pass_size=0))


# The result -----------------------------------------------------------------------------------------------------------
@FAMILIES
def test_a_run_exports_a_folder_that_plans_and_adapters_that_do_the_same(family, models, tmp_path):
    fit(models / family, tmp_path, LORA, num_written=1)
    assert (tmp_path / "plans" / "step0000004.md").read_text().startswith("**click-0-0**\n\n- `<Semantic>` ")
    modes = {path.stat().st_mode for path in (tmp_path / "model" / "planner").iterdir() if path.is_file()}
    assert len(modes) == 1
    found = load_components(tmp_path / "model", loadable(discover().components()))["planner"]
    assert found.config["model"] == str(tmp_path / "model" / "planner")
    assert found.config["fps"] == VIEWING["fps"]
    assert found.prompts.texts["section"] == "$name"
    adapted = VlmPlanner(str(models / family), adapter=str(tmp_path / "model" / "adapter"), **VIEWING)
    before = VlmPlanner(str(models / family), **VIEWING)
    losses = []
    for planner in (found, adapted, before):
        planner.use_dimensions(CORE_DIMENSIONS)
        with torch.inference_mode():
            losses.append(planner.eval().loss(CLIPS, PLANS)["text"])
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=0)
    assert losses[0] < losses[2] - 0.05
    assert found.identity != before.identity != adapted.identity
    again = tmp_path / "copied"  # a planner of a folder is written to another one as it is
    save_components(again, {"planner": found})
    assert (again / "planner" / "model.safetensors").read_bytes() == (
        tmp_path / "model" / "planner" / "model.safetensors"
    ).read_bytes()


def test_a_folder_names_a_model_on_the_hub_that_was_not_trained(tmp_path):
    save_components(tmp_path, {"planner": VlmPlanner("owner/model", adapter="mine", device="cuda:3", fps=1.0)})
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    found = load_components(tmp_path, loadable(discover().components()))["planner"]
    assert (found.model, found.adapter, found.device, found.viewing.fps) == ("owner/model", None, "auto", 1.0)
    found.to("cpu")
    assert found.device == "cpu"


def test_adapters_of_another_model_are_refused(models, tmp_path):
    fit(models / "qwen3_vl", tmp_path, LORA, steps=1)
    adapter = tmp_path / "model" / "adapter"
    with pytest.raises(
        CheckpointError, match=r"adapter was trained on qwen3_vl@\w+; the weights of \S+gemma3 are \w+: give"
    ):
        VlmPlanner(str(models / "gemma3"), adapter=str(adapter), **VIEWING).plan(CLIPS[0], CORE_DIMENSIONS)
    weights = load_file(adapter / "adapter_model.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name][:, :3].contiguous()}, adapter / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"adapter does not fit \S+qwen3_vl: .*expected the model that it was"):
        VlmPlanner(str(models / "qwen3_vl"), adapter=str(adapter), **VIEWING).plan(CLIPS[0], CORE_DIMENSIONS)
    del weights[name]
    save_file(weights, adapter / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"adapter does not fit \S+qwen3_vl: .*missing adapter keys"):
        VlmPlanner(str(models / "qwen3_vl"), adapter=str(adapter), **VIEWING).plan(CLIPS[0], CORE_DIMENSIONS)
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"adapter has no adapter_model.safetensors; expected a folder of"):
        VlmPlanner(str(models / "qwen3_vl"), adapter=str(adapter), **VIEWING).plan(CLIPS[0], CORE_DIMENSIONS)


def test_averages_are_kept_and_exported(models, tmp_path):
    callbacks = [ExponentialMovingAverage(0.5), ExportComponents(str(tmp_path / "averaged"))]
    made = task(models / "qwen3_vl", LORA)
    run = Trainer(
        max_steps=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0, default_root_dir=tmp_path,
        callbacks=callbacks,
    )  # fmt: skip
    run.fit(made, Clicks())
    assert len(made.average) == len(trained_names(made.planner))
    save_components(tmp_path / "last", {"planner": made.planner.trained()})
    averaged, last = (load_file(tmp_path / name / "planner" / "model.safetensors") for name in ("averaged", "last"))
    name = next(key for key in last if "up_proj" in key)
    assert not torch.equal(averaged[name], last[name])


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize("tuning", [Tuning(Adapters(4, 8.0, dropout=0.2)), FULL], ids=["adapters", "in full"])
def test_a_run_resumes_to_identical_numbers_from_its_trained_weights_alone(tuning, models, tmp_path):
    whole = fit(models / "qwen3_vl", tmp_path / "one", tuning)
    stored = torch.load(tmp_path / "one" / "step=2.ckpt", weights_only=True)["state_dict"]
    made = task(models / "qwen3_vl", tuning)
    made.planner.prepare_training()
    assert {name.removeprefix("planner._network.") for name in stored} == set(trained_names(made.planner))
    resumed = fit(models / "qwen3_vl", tmp_path / "two", tuning, checkpoint=tmp_path / "one" / "step=2.ckpt")
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


# Bad input ------------------------------------------------------------------------------------------------------------
def test_data_that_cannot_be_trained_on(models):
    planner = planner_of(models / "qwen3_vl")
    with pytest.raises(DataError, match="clip click-0-0 has no plan to train on; expected at least one of"):
        planner.loss(CLIPS[:1], [Plan({"loudness": "Loud."})])
    long = Plan({"temporal": "a" * 5000})
    with pytest.raises(DataError, match=r"plan of clip click-0-0 have \d+ and 5,001 tokens; \S+ reads 4,096 together"):
        planner.loss(CLIPS[:1], [long])
    with pytest.raises(DataError, match=r"clip click-0-0 has 1.0 s, which is planned in 2 segments; expected at most"):
        planner_of(models / "qwen3_vl", segment_s=0.5).loss(CLIPS[:1], PLANS[:1])


def test_a_loss_that_is_nan_ends_the_run_with_the_names_of_the_clips(models, tmp_path):
    made = task(models / "qwen3_vl", LORA)
    run = Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0, default_root_dir=tmp_path,
    )  # fmt: skip

    def break_weights(*_):
        next(w for n, w in made.planner.named_parameters() if "lora_A" in n).data.fill_(float("nan"))

    made.on_train_start = break_weights
    with pytest.raises(TrainingError, match=r"the loss of step 0 is NaN or infinite, with the clips click-0-\d, click"):
        run.fit(made, Clicks())
