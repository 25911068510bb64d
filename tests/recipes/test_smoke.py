"""Every smoke recipe of the core and of the plugins trains, and what it makes is as it should be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from recipe_runs import check_resuming, logged, train

from prismaudio.checkpoints import load_components, loadable
from prismaudio.registry import discover

pytestmark = pytest.mark.slow
ELSEWHERE = ("prismaudio-studio", "prismaudio-vlm")
"""Distributions that train their own smoke recipes; for prismaudio-vlm's a model is made first."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which every smoke recipe was trained; those of the core go on from one another, plugins' do not."""
    folder = tmp_path_factory.mktemp("smoke")
    smoke = {
        entry.name: entry.plugin.distribution
        for entry in discover().entries
        if entry.kind == "recipes" and entry.name.startswith("smoke/") and entry.plugin.distribution not in ELSEWHERE
    }
    own = [name for name, distribution in smoke.items() if distribution == "prismaudio"]
    chains = own, [name for name in smoke if name not in own]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda names: [train(folder, "fit", "--config", name) for name in names], chains))
    return folder


def test_a_model_of_the_published_streams_is_exported_with_its_encoders(trained):
    model = trained / "runs" / "smoke" / "published"
    found = load_components(model, loadable(discover().components()))
    assert {"video_encoder", "sync_encoder", "text_encoder", "transformer", "autoencoder"} <= set(found)
    clip = Path(__file__).parents[2] / "samples" / "bell_and_ball.mp4"
    train(
        trained, "generate", str(clip), "--model", str(model), "--prompt", "A bell rings.", "--steps", "1", "-o", "out"
    )
    assert (trained / "out" / "bell_and_ball.wav").stat().st_size > 100_000


def test_every_smoke_recipe_trains(trained):
    made = {path.name for path in (trained / "runs" / "smoke").iterdir()}
    assert made >= {"foundation", "cot_tuning", "fast_grpo", "model", "aligned-model"}
    assert set(load_components(trained / "runs" / "smoke" / "model")) >= {"transformer", "planner"}


def test_the_planning_stage_learns_to_write_what_flashes(trained):
    (run,) = (trained / "runs" / "smoke" / "cot_tuning").glob("version_*")
    losses = logged(run, "train_loss")
    assert losses[-1] < 0.5 * losses[0]


def test_the_foundation_stage_lowers_its_loss_and_resumes_to_identical_numbers(trained):
    (run,) = (trained / "runs" / "smoke" / "foundation").glob("version_*")
    losses = logged(run, "val_loss")
    assert losses[-1] < 0.95 * losses[0]
    check_resuming(trained, run, "smoke/foundation", load_components)


def test_the_word_fsdp_means_fsdp2_and_its_checkpoint_becomes_a_model(trained):
    words = ["--trainer.strategy", "fsdp", "--trainer.logger.save_dir", "sharded"]
    train(trained, "fit", "--config", "smoke/foundation", *words)
    (checkpoint,) = (trained / "sharded").rglob("step=10.ckpt")
    assert checkpoint.is_dir()
    train(trained, "export", str(checkpoint), "whole", "--config", "smoke/foundation")
    (before,) = (trained / "runs" / "smoke" / "foundation").rglob("step=10.ckpt")
    expected = torch.load(before, weights_only=True)["state_dict"]
    for name, weight in load_components(trained / "whole")["transformer"].state_dict().items():
        average = expected[f"average.transformer/{name.replace('.', '/')}"]
        torch.testing.assert_close(weight, average, rtol=1e-3, atol=1e-4)
