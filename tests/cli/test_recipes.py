from __future__ import annotations

import json
import subprocess

import yaml

from prismaudio.cli.main import main
from prismaudio.registry import discover


def a_recipe():
    return discover().names("recipes")[0]


def test_list_names_every_recipe_with_its_first_line(capsys):
    assert main(["recipes", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == discover().names("recipes")
    assert all(len(line.split()) > 2 for line in lines)


def test_show_prints_the_file(capsys):
    assert main(["recipes", "show", a_recipe()]) == 0
    assert "model" in yaml.safe_load(capsys.readouterr().out)


def test_copy_keeps_what_is_there(capsys, tmp_path):
    assert main(["recipes", "copy", a_recipe(), str(tmp_path)]) == 0
    (copied,) = tmp_path.iterdir()
    assert f"prismaudio fit --config {copied}" in capsys.readouterr().out
    copied.write_text("mine")
    assert main(["recipes", "copy", a_recipe(), str(copied)]) == 2
    assert "exists; choose another name" in capsys.readouterr().err
    assert copied.read_text() == "mine"
    assert main(["recipes", "copy", a_recipe(), str(copied), "--force"]) == 0
    assert copied.read_text() != "mine"


def test_copy_to_a_folder_that_is_not_there(capsys, tmp_path):
    assert main(["recipes", "copy", a_recipe(), str(tmp_path / "no" / "such" / "x.yaml")]) == 2
    assert "No such file or directory" in capsys.readouterr().err


def test_an_unknown_recipe(capsys):
    assert main(["recipes", "show", a_recipe() + "x"]) == 2
    assert f"did you mean '{a_recipe()}'" in capsys.readouterr().err


def test_the_schema_allows_bare_names_and_paths(toy, capsys):
    assert main(["recipes", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    names = schema["$defs"]["any-Sampler"]["anyOf"][0]["enum"]
    assert {"EulerSampler", "prismaudio.samplers.euler.EulerSampler"} <= set(names)
    task = next(value for key, value in schema["$defs"].items() if key.endswith("ToyTask"))
    assert task["properties"]["init_args"]["properties"]["width"] == {
        "type": "integer",
        "description": "Width of the layer.",
    }
    references = {
        part["$ref"] for value in schema["$defs"].values() for part in value.get("anyOf", []) if "$ref" in part
    }
    assert {reference.removeprefix("#/$defs/") for reference in references} <= set(schema["$defs"])


def test_the_batch_script_is_copied_like_a_recipe(capsys, tmp_path):
    assert main(["recipes", "copy", "slurm.sbatch", str(tmp_path)]) == 0
    script = tmp_path / "slurm.sbatch"
    assert capsys.readouterr().out.endswith(f"run it with: sbatch {script}\n")
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    for needed in (
        "--signal=SIGUSR1@",
        "--requeue",
        "--ntasks-per-node=8",
        "--gpus-per-node=8",
        "\nsrun prismaudio fit",
    ):
        assert needed in text
    assert main(["recipes", "copy", "slurm.sbatch", str(script)]) == 2
