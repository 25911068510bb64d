"""A language model that only reads: it learns to turn what another part says into sections."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.optim import AdamW
from torch.utils.data import DataLoader

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.checkpoints import Configured, load_components, loadable
from prismaudio.components import Component
from prismaudio.errors import CheckpointError, PlanError
from prismaudio.plan import Plan
from prismaudio.planners.base import Annotation, Annotator
from prismaudio.registry import discover
from prismaudio.training.callbacks.export import ExportComponents
from prismaudio.training.cot_tuning import CotTuningTask
from prismaudio.types import Clip, ClipBatch
from prismaudio_vlm.local_planners import LlmPlanner, VlmPlanner
from prismaudio_vlm.reduced import save_reduced
from prismaudio_vlm.tuning import Tuning

from ..scripted_chat import ANSWERS  # noqa: TID252 - tests are no package

DIMENSIONS = CORE_DIMENSIONS[:2]
CLIPS = [Clip(f"clip {number}", 2.0) for number in range(2)]
PLANS = [
    Plan({name: ANSWERS[name] for name in ("semantic", "temporal")}),
    Plan({"semantic": "A bell.", "temporal": "The bell sounds at 1.50 s."}),
]


class Told(Configured, Annotator):
    """Says the name of a clip; counts how often."""

    def __init__(self, word: str = "") -> None:
        self.word, self.asked = word, []

    def annotate_batch(self, clips, dimensions, captions=None):
        self.asked += [clip.id for clip in clips]
        return [Annotation("" if self.word == "nothing" else clip.id + self.word) for clip in clips]


class Both(LightningDataModule):
    """The two clips, in every batch."""

    def train_dataloader(self):
        return DataLoader([ClipBatch(CLIPS, PLANS)] * 120, batch_size=None)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reduced") / "smollm"
    save_reduced("smollm", folder)
    return folder


@pytest.mark.parametrize("ask", ["together", "each"])
def test_it_learns_and_its_folder_brings_the_annotator(ask, model, tmp_path):
    annotator = Told("!")
    planner = LlmPlanner(str(model), annotator, ask=ask, max_tokens=120, tuning=Tuning(lora=None))
    task = CotTuningTask(planner, partial(AdamW, lr=1e-2), lr_scheduler=None, num_written=0)
    task.use_dimensions(DIMENSIONS)
    run = Trainer(
        max_steps=120, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, gradient_clip_val=1.0, callbacks=[ExportComponents(str(tmp_path / "made"))],
        default_root_dir=tmp_path,
    )  # fmt: skip
    run.fit(task, Both())
    assert annotator.asked == ["clip 0", "clip 1"]  # in every step the same
    with pytest.raises(CheckpointError, match="Told', which no installed plugin provides for model folders"):
        load_components(tmp_path / "made", loadable(discover().components()))
    known = loadable([*discover().components(), ("planners", Component(f"{Told.__module__}:Told", ""))])
    (found,) = load_components(tmp_path / "made", known).values()
    assert (type(found.annotator), found.annotator.word, found.ask) == (Told, "!", ask)
    assert [dict(plan) for plan in found.plan_batch(CLIPS, DIMENSIONS)] == [dict(plan) for plan in PLANS]
    given = found.plan(CLIPS[1], DIMENSIONS, Plan({"semantic": "A gong."}))
    assert given["semantic"] == "A gong."
    assert found.description()["annotator"] == {"class": "Told", "word": "!"}


def test_what_it_cannot_do(model):
    with pytest.raises(PlanError, match="Told says nothing about clip clip 0: it sees nothing"):
        LlmPlanner(str(model), Told("nothing")).plan(CLIPS[0], DIMENSIONS)
    with pytest.raises(CheckpointError, match="is a llama, which does not see frames"):
        VlmPlanner(str(model)).plan(Clip("a", 1.0, torch.zeros(8, 3, 8, 8, dtype=torch.uint8), 8.0), DIMENSIONS)
