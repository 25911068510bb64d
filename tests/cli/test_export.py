"""``prismaudio export`` on what it cannot use; tests/recipes exports what recipes make."""

from __future__ import annotations

import pytest
import torch

from prismaudio.cli.main import main
from prismaudio.cli.recipes import find_recipe
from prismaudio.registry import discover


def error(capsys, *words):
    assert main(["export", *map(str, words)]) == 2
    return capsys.readouterr().err.splitlines()[-1].removeprefix("prismaudio: error: ")


def test_a_checkpoint_that_is_not_there(capsys, tmp_path):
    assert "no such checkpoint" in error(capsys, tmp_path / "none.ckpt", tmp_path / "out")


def test_a_run_without_its_recipe(capsys, tmp_path):
    (tmp_path / "a.ckpt").touch()
    assert "--config" in error(capsys, tmp_path / "a.ckpt", tmp_path / "out")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path.write_bytes(b"no checkpoint"), "is not a checkpoint of prismaudio fit, or it is damaged"),
        (lambda path: path.mkdir(), "is not a checkpoint of prismaudio fit, or it is damaged"),
        (lambda path: torch.save([1], path), "is not a checkpoint of prismaudio fit, or it is damaged"),
        (lambda path: torch.save({"state_dict": {"a": torch.ones(2)}}, path), "does not fit the recipe: "),
    ],
)
def test_what_is_no_checkpoint_of_the_recipe(capsys, tmp_path, make, expected):
    make(tmp_path / "a.ckpt")
    recipe = tmp_path / "recipe.yaml"  # the one that the run kept
    recipe.write_text(find_recipe(discover(), "smoke/foundation").read_text())
    assert expected in error(capsys, tmp_path / "a.ckpt", tmp_path / "out")
    assert not (tmp_path / "out").exists()
