"""Written plans go to the loggers that show text, and else to a file."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from prismaudio.plan import Plan
from prismaudio.training.plan_log import WrittenPlan, log_plans

WRITTEN = WrittenPlan(
    "a", Plan({"semantic": "A cat."}, ["no spatial section"]), Plan({"semantic": "A dog.", "spatial": "Left."})
)
TEXT = """\
**a**

- `<Semantic>` A cat.
    - reference: A dog.
- `<Spatial>` (not written)
    - reference: Left.
- no spatial section"""


def trainer(*loggers):
    return SimpleNamespace(loggers=list(loggers), global_step=7)


def test_without_a_logger_of_texts_they_are_in_a_file(tmp_path):
    log_plans(trainer(CSVLogger(tmp_path)), [WRITTEN, WRITTEN], tmp_path / "run")
    assert (tmp_path / "run" / "plans" / "step0000007.md").read_text() == f"{TEXT}\n\n{TEXT}\n"


@pytest.mark.parametrize("kind", [TensorBoardLogger, WandbLogger])
def test_loggers_get_them_with_the_step(kind, tmp_path, monkeypatch):
    seen = []
    writer = SimpleNamespace(add_text=lambda *values: seen.append(values))
    monkeypatch.setattr(TensorBoardLogger, "experiment", writer)
    monkeypatch.setattr(WandbLogger, "log_text", lambda _, *name, **values: seen.append((*name, values)))
    log_plans(trainer(kind.__new__(kind)), [WRITTEN], tmp_path)
    if kind is TensorBoardLogger:
        assert seen == [("plans/a", TEXT, 7)]
    else:
        (name, values) = seen[0]
        assert (name, values["step"], values["columns"][0]) == ("plans", 7, "clip")
        assert values["data"][1:] == [["a", "spatial", "", "Left."], ["a", "warning", "no spatial section", ""]]
    assert list(tmp_path.iterdir()) == []
