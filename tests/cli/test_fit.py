from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning.pytorch.accelerators import CPUAccelerator, CUDAAccelerator

from prismaudio import __version__
from prismaudio.cli.fit import use_tensor_cores
from prismaudio.cli.main import main
from prismaudio.cli.recipes import find_recipe
from prismaudio.registry import discover


def error(capsys, *words):
    assert main(["fit", *words]) == 2
    text = capsys.readouterr().err.splitlines()
    assert text[-1].startswith("prismaudio: error: ")
    return text[-1].removeprefix("prismaudio: error: ")


@pytest.mark.parametrize("command", ["fit", "validate"])
def test_a_recipe_of_bare_names_runs(toy, command):
    words = [command, "--config", toy]
    if command != "fit":
        words += ["--trainer.max_steps", "-1"]
    assert main(words) == 0
    assert list(Path().iterdir()) == []  # a run without a logger leaves the working directory alone


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--model ToyTsk", "model: there is no class 'ToyTsk'; did you mean 'ToyTask'?"),
        ("--model.sampler EulrSampler", "did you mean 'EulerSampler'"),
        ("--model.rewards.temporal Loudness", "there is no class 'Loudness'"),
        ("--model.rewards.temporal EulerSampler", "not of the type that is expected here"),
        ("--model.rewards.temporal LostReward", "LostReward of plugin"),
        ("--model.rewards.temporal.target_d 3", "ToyReward has no argument 'target_d'; did you mean 'target_db'?"),
        ("--model.rewards.temporal.target_db loud", "target_db: expected float, got 'loud'"),
        ("--model.width four", "model.width: expected int, got 'four'"),
        ("--model.widht 4", "model: ToyTask has no argument 'widht'; did you mean 'width'?"),
        ("--model.width 0", "width must be at least 1, not 0"),
        ("--data.count many", "data.count: expected int"),
        ("--model.width [1]", "model.width: expected int, got '[1]'"),
        ("--model.rewards 3", "model.rewards: expected dict or null, got '3'"),
        ("--model.rewards.temporal 3", "model.rewards.temporal: expected the name of a class or {class_path: NAME"),
        ("--model.sampler torch.optim.SGD", "model.sampler: expected a Sampler, got 'torch.optim.SGD'"),
        ("--model [ToyTask]", "model: expected a LightningModule, its name or {class_path: NAME"),
        ("--model.rewards.other.target_db 3", "set class_path to a subclass of Reward"),
        ("--trainer.max_step 3", "there is no option 'trainer.max_step'; did you mean 'trainer.max_steps'?"),
        ("--max-steps 3", "did you mean 'trainer.max_steps'?"),
        ("--trainer 3", 'trainer: Unable to load config "3"'),
        ("--optimizer.lr 3", "there is no option 'optimizer.lr'; did you mean 'model.optimizer.lr'?"),
        ("--trainer.precision bf17", "'bf16' or null, got 'bf17'"),
        ("--trainer.devices none", "`devices` selected"),
        ("--trainer.callbacks EarlyStoping", "there is no class 'EarlyStoping'; did you mean 'EarlyStopping'?"),
        ("--trainer.callbacks EarlyStopping", "trainer.callbacks: EarlyStopping requires the argument 'monitor'"),
        ("--trainer.logger CSVLoger", "did you mean 'CSVLogger'"),
        ("--trainer.accelerator none", "none"),
        ("--model.sampler subprocess.Popen", "a recipe may not import 'subprocess.Popen'"),
        ("--model.sampler torch.hub.load", "a recipe may not import 'torch.hub.load'"),
        ("--model.sampler my_package.MySampler", "to use your own module, add --plugin my_package"),
        ("--model.sampler torch.Nothing", "has no attribute 'Nothing'"),
        ("--nonsense 3", "there is no option 'nonsense'"),
        ("--config no/such", "there is no file 'no/such', and no recipe is named 'no/such'"),
        ("--ckpt_path nothing.ckpt", "nothing.ckpt"),
        ("--ckpt_path {recipe}", "is not a checkpoint"),
    ],
)
def test_mistakes_are_explained_in_one_line(toy, capsys, words, expected):
    assert expected in error(capsys, "--config", toy, *words.format(recipe=toy).split())


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LAUGHS + "model: *i\n", "the YAML expands to more than 20000 values"),
        (LAUGHS, "the YAML expands to more than 20000 values"),
        ("a: b\n" * 20_001, "the YAML expands to more than 20000 values"),
        ("a: &a [*a]\nmodel: *a\n", "'a' is part of itself"),
        ("model: &m {class_path: *m}\n", "'m' is part of itself"),
        ("[" * 3000, "the YAML is nested more than 64 levels deep"),
        ("{" * 500 + "}" * 500, "the YAML is nested more than 64 levels deep"),
        ("model: \0\n", "is not YAML"),
        ("model: " + "x" * (1 << 20), "bytes; expected at most 1048576"),
        ("- a\n", "is not a recipe"),
    ],
)
def test_recipes_that_would_exhaust_memory_or_time_are_one_line(tmp_path, capsys, text, expected):
    path = tmp_path / "evil.yaml"
    path.write_text(text)
    assert expected in error(capsys, "--config", str(path))


def test_values_of_options_and_files_that_a_recipe_names_are_bounded_too(toy, tmp_path, capsys):
    (tmp_path / "part.yaml").write_text("class_path: EulerSampler\ninit_args: &a [*a]\n")
    assert "'a' is part of itself" in error(capsys, "--config", toy, "--model.sampler", str(tmp_path / "part.yaml"))
    assert "levels deep" in error(capsys, "--config", toy, "--model.sampler", "{a: " + "[" * 3000)


def test_a_refusal_of_the_data_is_one_line(toy, capsys):
    text = error(
        capsys, "--config", toy, "--data", "ManifestDataModule", "--data.manifest", "x", "--data.workers", "-1"
    )
    assert text.startswith("expected batch_size of 1 or more, workers of 0 or more")
    assert "Namespace" not in text


CHECKPOINT = {"state_dict": {"other": torch.ones(1)}, "pytorch-lightning_version": "2.6.0", "loops": {}, "epoch": 0}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([torch.ones(1)], "contains a list"),
        ({"layer.weight": torch.ones(1)}, "is not a checkpoint of prismaudio fit"),
        ({"state_dict": {"a": torch.nn.Linear(1, 1)}}, "pickled code, which is not executed"),
        (
            CHECKPOINT | {"global_step": 0},
            "does not fit the recipe: missing layer.weight; missing layer.bias; unknown other",
        ),
        ("a text", "is not a checkpoint of prismaudio fit"),
        (b"PK and no more", "truncated"),
        (None, "no such checkpoint"),
    ],
)
def test_an_invalid_checkpoint_is_reported_in_one_line(toy, capsys, tmp_path, content, expected):
    path = tmp_path / "a.ckpt"
    if isinstance(content, bytes | str):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    elif content is not None:
        torch.save(content, path)
    assert expected in error(capsys, "--config", toy, "--ckpt_path", str(path))


LOGGED = """
trainer:
  default_root_dir: run
  enable_checkpointing: true
  num_sanity_val_steps: 0
  logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: run, name: null}}
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {every_n_train_steps: 1, save_last: true}
"""

RESUMED = pytest.mark.filterwarnings(
    "ignore:The dirpath has changed", "ignore:You're resuming", "ignore:Checkpoint dir"
)


@pytest.fixture
def versioned(toy, tmp_path):
    """Words for a run of two steps whose checkpoints are in a folder for each version."""
    (tmp_path / "logged.yaml").write_text(LOGGED)
    return ["--config", toy, "--config", str(tmp_path / "logged.yaml")]


@RESUMED
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda found: found["state_dict"].update({"layer.bias": torch.ones(7)}), "layer.bias is (7,), expected (1,)"),
        (lambda found: found["optimizer_states"][0]["param_groups"].pop(), "different number of parameter groups"),
    ],
)
def test_a_checkpoint_of_another_network_or_optimizer_is_reported_in_one_line(versioned, capsys, change, expected):
    assert main(["fit", *versioned]) == 0
    (path,) = Path("run").rglob("last.ckpt")
    found = torch.load(path, weights_only=True)
    change(found)
    torch.save(found, path)
    text = error(capsys, *versioned, "--ckpt_path", str(path), "--trainer.max_steps", "4")
    assert "does not fit the recipe: " in text
    assert expected in text


def step(path):
    return torch.load(path, weights_only=True)["global_step"]


@RESUMED
def test_last_is_the_newest_of_all_versions_of_a_run(versioned):
    assert main(["fit", *versioned]) == 0
    assert main(["fit", *versioned, "--trainer.max_steps", "1"]) == 0  # newer, though it came less far
    assert main(["fit", *versioned, "--ckpt_path", "last", "--trainer.max_steps", "3"]) == 0
    assert [step(f"run/version_{version}/checkpoints/last.ckpt") for version in range(3)] == [2, 1, 3]
    assert sorted(path.stem for path in Path("run/version_2/checkpoints").glob("epoch*")) == ["epoch=0-step=3"]
    recipe = yaml.safe_load(Path("run/version_2/recipe.yaml").read_text())
    assert recipe["ckpt_path"] == "run/version_1/checkpoints/last.ckpt"


@RESUMED
@pytest.mark.parametrize("words", [["--trainer.logger", "false"], ["--trainer.logger.version", "mine"]])
def test_last_is_of_the_run_that_is_named(versioned, words, capsys):
    assert main(["fit", *versioned]) == 0
    assert "there is no last.ckpt in run" in error(capsys, *versioned, *words, "--ckpt_path", "last")
    assert main(["fit", *versioned, *words]) == 0
    assert main(["fit", *versioned, "--trainer.max_steps", "1"]) == 0
    assert main(["validate", *versioned, *words, "--ckpt_path", "last"]) == 0
    assert main(["fit", *versioned, *words, "--ckpt_path", "last", "--trainer.max_steps", "4"]) == 0
    (mine,) = [path for path in Path("run").rglob("last*.ckpt") if step(path) == 4]
    assert mine.parts[1] in {"mine", "checkpoints"}


def test_no_last_checkpoint_is_one_line(versioned, tmp_path, capsys):
    text = error(capsys, *versioned, "--ckpt_path", "last")
    assert text.startswith(
        "there is no last.ckpt in run, where ModelCheckpoint with save_last writes it; give the path"
    )
    folder = Path("run/version_0/checkpoints/last.ckpt")
    folder.mkdir(parents=True)  # a sharded one that was not completed
    assert "there is no last.ckpt" in error(capsys, *versioned, "--ckpt_path", "last")
    (folder.parent / "last-v1.ckpt").write_text("no")
    assert "last-v1.ckpt is not a checkpoint" in error(capsys, *versioned, "--ckpt_path", "last")


def test_a_model_folder_is_no_checkpoint(toy, capsys, tmp_path):
    assert "is not a checkpoint of prismaudio fit" in error(capsys, "--config", toy, "--ckpt_path", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"), [("a: [1,\n b: 2", "is not YAML"), ("", "not a recipe"), ("- 1", "not a recipe")]
)
def test_what_is_no_recipe_is_named(toy, capsys, tmp_path, text, expected):
    (tmp_path / "bad.yaml").write_text(text)
    message = error(capsys, "--config", str(tmp_path / "bad.yaml"))
    assert "bad.yaml" in message
    assert expected in message


def test_a_misspelt_option_in_a_recipe_gets_the_nearest_one(toy, tmp_path, capsys):
    (tmp_path / "more.yaml").write_text("trainer: {max_step: 3}\n")
    text = error(capsys, "--config", toy, "--config", str(tmp_path / "more.yaml"))
    assert text == "there is no option 'trainer.max_step'; did you mean 'trainer.max_steps'?"


@pytest.mark.parametrize("callback", ["EarlyStopping", "ModelCheckpoint"])
def test_a_metric_that_is_not_logged_is_one_line_with_those_that_are(toy, capsys, callback):
    words = [f"--trainer.callbacks={callback}", "--trainer.callbacks.monitor=val_los"]
    words += ["--trainer.max_steps", "-1", "--trainer.max_epochs", "1", "--trainer.enable_checkpointing", "true"]
    text = error(capsys, "--config", toy, *words)
    assert text == f"{callback} monitors 'val_los', which is not logged; did you mean 'val_loss'? logged: val_loss"


@pytest.mark.parametrize(("command", "expected"), [("test", "prismaudio validate"), ("predict", "prismaudio generate")])
def test_commands_of_lightning_that_are_not_here_name_those_that_are(capsys, command, expected):
    assert main([command, "--config", "smoke/foundation"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"there is no command '{command}'; " in line
    assert expected in line


def test_without_a_recipe_the_error_explains_how_to_name_one(capsys):
    assert "data, model; name a recipe with --config" in error(capsys)


def test_an_installed_recipe_is_known_by_its_name(install, toy, capsys, tmp_path):
    (tmp_path / "recipes" / "smoke").mkdir(parents=True)
    (tmp_path / "recipes" / "smoke" / "toy.yaml").write_text(Path(toy).read_text())
    folder = str(tmp_path / "recipes")
    install(f"from pathlib import Path\n@hookimpl\ndef prismaudio_recipes():\n    return [Path({folder!r})]\n")
    assert main(["fit", "--config", "smoke/toy"]) == 0
    assert main(["fit", "--config=smoke/toy.yaml"]) == 0
    assert "did you mean 'smoke/toy'" in error(capsys, "-c", "smoke/tod")


def test_print_config_shows_every_default(toy, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", toy, "--print_config"])
    assert stop.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["init_args"]["rewards"]["temporal"]["init_args"] == {"target_db": -9.0}


def test_a_run_records_its_recipe_and_plugins_and_can_be_repeated(toy, capsys, tmp_path):
    assert main(["fit", "--config", toy, "--trainer.default_root_dir", str(tmp_path / "run")]) == 0
    saved = tmp_path / "run" / "recipe.yaml"
    plugins = yaml.safe_load(saved.read_text())["plugins"]
    assert {"name": "core", "distribution": "prismaudio", "version": __version__} in plugins
    assert main(["fit", "--config", str(saved)]) == 0
    saved.write_text(saved.read_text().replace(__version__, "0.0.9"))
    with pytest.warns(UserWarning, match="this recipe was saved with plugin"):
        main(["fit", "--config", str(saved)])


def test_ctrl_c_is_130(toy, capsys):
    import signal

    before = signal.getsignal(signal.SIGINT)
    try:
        assert main(["fit", "--config", toy, "--model", "InterruptedTask"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)


def test_sigterm_ends_with_143_and_one_line(toy, capsys):
    import signal

    before = signal.getsignal(signal.SIGINT)
    try:
        assert main(["fit", "--config", toy, "--model", "TerminatedTask"]) == 143
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.splitlines()[-1] == "prismaudio: terminated"


def test_help_of_one_class_comes_from_its_docstring(toy, capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--model.help", "ToyTask"])
    assert "Width of the layer." in capsys.readouterr().out


def fast_grpo(folder, old, new):
    """The smoke recipe of Fast-GRPO with a line changed, in a file."""
    text = Path(str(find_recipe(discover(), "smoke/fast_grpo"))).read_text(encoding="utf-8")
    assert old in text
    (folder / "changed.yaml").write_text(text.replace(old, new), encoding="utf-8")
    return str(folder / "changed.yaml")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "group_size: 4",
            "group: 4",
            "FastGrpoTask has no argument 'rollout.group'; did you mean 'rollout.group_size'?",
        ),
        ("    policy:\n", "    group: 4\n    policy:\n", "no argument 'group'; did you mean 'rollout.group_size'?"),
        (
            "    policy:\n",
            "    drop: 4\n    policy:\n",
            "FastGrpoTask has no argument 'drop'; it takes rewards, rollout",
        ),
        ("group_size: 4", "group_size: 1", "group_size is 1; expected 2 or more"),
        ("AdamW", "AdamWW", "optimizer: there is no class 'AdamWW'; did you mean 'AdamW'"),
        ("lr: 1.0e-4", "rate: 1.0e-4", "optimizer: AdamW has no argument 'rate'"),
        ("AdamW", "CosineWithWarmup", "optimizer: a class 'CosineWithWarmup' exists, but it is not of the type"),
    ],
)
def test_options_of_fast_grpo_are_checked_in_one_line(tmp_path, capsys, old, new, expected):
    assert expected in error(capsys, "--config", fast_grpo(tmp_path, old, new))


def test_an_option_is_not_abbreviated(capsys):
    words = "--config", "smoke/fast_grpo", "--model.rollout.group", "3"
    assert "no argument 'rollout.group'" in error(capsys, *words)


@pytest.mark.parametrize("name", ["AdamW", "torch.optim.AdamW"])
def test_an_optimizer_is_named_as_torch_does(tmp_path, capsys, name):
    with pytest.raises(SystemExit):
        main(["fit", "--config", fast_grpo(tmp_path, "class_path: AdamW", f"class_path: {name}"), "--print_config"])
    recipe = yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]
    assert recipe["optimizer"]["class_path"] == "torch.optim.AdamW"
    assert recipe["optimizer"]["init_args"]["weight_decay"] == 1e-4


def test_the_help_of_a_task_has_what_it_inherits(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--model.help", "FastGrpoTask"])
    text = " ".join(capsys.readouterr().out.split())
    for option, said in (
        ("rollout.group_size", "Candidates per clip"),
        ("policy.kl_coef", "Coefficient of the KL divergence"),
        ("scoring.held_out", "never optimized"),
        ("optimizer", "None for AdamW with learning rate 1e-3"),
        ("guidance", "Scale of classifier-free guidance; 1 disables it. (type: float, default: 1.0)"),
        ("gradient_checkpointing", "Recompute activations"),
    ):
        assert f"--model.{option} " in text
        assert said in text


@pytest.mark.parametrize(("precision", "expected"), [(None, "high"), ("bf16-mixed", "high"), ("32-true", "highest")])
def test_cuda_devices_use_tensor_cores_unless_full_precision_is_requested(precision, expected):
    cuda, cpu = (SimpleNamespace(accelerator=object.__new__(kind)) for kind in (CUDAAccelerator, CPUAccelerator))
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        use_tensor_cores(cpu, precision)
        assert torch.get_float32_matmul_precision() == "highest"
        use_tensor_cores(cuda, precision)
        assert torch.get_float32_matmul_precision() == expected
        torch.set_float32_matmul_precision("medium")
        use_tensor_cores(cuda, precision)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
