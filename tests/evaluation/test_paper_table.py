"""The columns of the paper's table."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import pytest

from prismaudio.data.manifest import ManifestEntry
from prismaudio.evaluation.comparison import ALL, STEREO, Cell, Comparison, System
from prismaudio.evaluation.intervals import MeanInterval
from prismaudio.evaluation.paper_table import MAIN, STRATEGY, is_truth, num_parameters, paper_table

SCORERS = ("ClapScore", "DeSync", "GccMse", "StereoWidth")


def compared(values, *, stereo=None):
    """A comparison of systems: scorer → system → value, or the reason why there is none."""
    systems = list(next(iter(values.values())))

    def cells(rows):
        return {
            scorer: {
                name: Cell(reason=value) if isinstance(value, str) else Cell(value, 9) for name, value in row.items()
            }
            for scorer, row in rows.items()
        }

    groups = {ALL: cells(values)} | ({STEREO: cells(stereo)} if stereo else {})
    facts = {name: {"clips": 9} for name in systems}
    facts[systems[0]] |= {"parameters": 518_000_000, "seconds_per_clip": 0.634}
    return Comparison({}, groups, facts, systems[0])


VALUES = {
    "ClapScore": {"ours": 0.47, "theirs": 0.43, "truth": 0.99},
    "DeSync": {"ours": 0.41, "theirs": 0.55, "truth": 0.1},
    "GccMse": {"ours": 3.77, "theirs": 4.65, "truth": 0.0},
    "StereoWidth": {"ours": 0.2, "theirs": 0.1, "truth": 0.2},
}


def row(grid, name):
    return dict(zip((head.split()[0] for head in grid.heads[1:]), grid.rows[name], strict=True))


def test_the_columns_are_those_of_the_paper_and_the_truth_is_first():
    grid = paper_table(compared(VALUES), truth="truth").grid("t")
    heads = " ".join(head.rstrip(" ↑↓") for head in grid.heads)
    assert heads == "System Params CLAP DeSync PQ PC CE CU GCC CRW FD KL MOS-Q MOS-C Time (s)"
    assert [head[-1] for head in grid.heads[2:-1]] == list("↑↓↑↓↑↑↓↓↓↓↑↑")
    assert list(grid.rows) == ["truth", "ours", "theirs"]
    assert (row(grid, "ours")["Params"], row(grid, "ours")["Time"], row(grid, "ours")["GCC"]) == (
        "518M",
        "0.63",
        "3.77",
    )
    assert row(grid, "theirs")["Params"] == "–"
    assert row(grid, "truth")["GCC"] == "–"
    assert row(grid, "truth")["CLAP"] == "0.99"


def test_the_best_is_bold_and_the_truth_does_not_compete():
    grid = paper_table(compared(VALUES), truth="truth").grid("t")
    bold = {(name, grid.heads[at + 1].split()[0]) for name, at in grid.best}
    assert bold == {("ours", "CLAP"), ("ours", "DeSync"), ("ours", "GCC")}
    tied = {**VALUES, "DeSync": {"ours": 0.5, "theirs": 0.5, "truth": 0.1}}
    grid = paper_table(compared(tied), truth="truth").grid("t")
    assert {name for name, at in grid.best if grid.heads[at + 1].startswith("DeSync")} == {"ours", "theirs"}
    alone = {scorer: {"ours": of["ours"], "truth": of["truth"]} for scorer, of in VALUES.items()}
    assert not paper_table(compared(alone), truth="truth").grid("t").best
    assert "| **0.47** |" in paper_table(compared(VALUES), truth="truth").grid("t").markdown()


def test_every_empty_cell_has_a_reason(monkeypatch):
    known = {"metrics": ["DeSync", "CrwMse", "ClapScore"], "rewards": []}
    monkeypatch.setattr("prismaudio.registry.Registry.names", lambda _, kind: known[kind])
    values = {**VALUES, "DeSync": dict.fromkeys(VALUES["DeSync"], "it has no weights")}
    table = paper_table(compared(values), truth="truth")
    for name, cells in table.cells.items():
        assert all("value" in cell or cell["reason"] for cell in cells.values()), name
    notes = "\n".join(table.grid("t").notes)
    assert "– MOS-Q, MOS-C: it needs people: prismaudio listen makes a listening test of this folder" in notes
    assert "– DeSync: it has no weights" in notes
    assert "– CRW (CrwMse) of ours, theirs: installed, but not among the metrics that --metrics names" in notes
    assert "– GCC, CRW, FD, KL of truth: it compares with the true audio" in notes
    assert "prismaudio-audiobox" in table.cells["ours"]["CE"]["reason"]
    assert "prismaudio-yamnet" in table.cells["ours"]["KL"]["reason"]
    assert "– Params, Time (s) of truth, theirs: it is known of models" in notes
    assert "computed by CLAP: ClapScore; GCC: GccMse" in notes
    assert "--audio truth=DIR" not in notes
    assert "--audio truth=DIR" in "\n".join(paper_table(compared(values)).grid("t").notes)


def test_a_mono_system_has_no_spatial_score():
    values = {**VALUES, "StereoWidth": {"ours": 0.2, "theirs": 1e-6, "truth": 0.2}}
    cells = paper_table(compared(values), truth="truth").cells
    assert cells["theirs"]["GCC"] == {"reason": "its audio is mono, which has no direction"}
    assert cells["ours"]["GCC"]["value"] == 3.77


def test_spatial_scores_are_those_of_stereo_references_where_some_are_mono():
    stereo = {"GccMse": {"ours": 8.0, "theirs": 9.0, "truth": 0.0}}
    table = paper_table(compared(VALUES, stereo=stereo), truth="truth")
    assert (table.cells["ours"]["GCC"]["value"], table.cells["ours"]["GCC"]["clips"]) == (8.0, STEREO)
    assert table.cells["ours"]["CLAP"]["value"] == 0.47
    assert f"GCC: GccMse ({STEREO})" in table.grid("t").notes[0]


def test_another_network_fills_a_column():
    values = {"PasstFrechetDistance": {"ours": 65.0, "theirs": 70.0}, "MsClapReward": {"ours": 0.3, "theirs": 0.2}}
    cells = paper_table(compared(values)).cells["ours"]
    assert (cells["FD"]["scorer"], cells["CLAP"]["scorer"]) == ("PasstFrechetDistance", "MsClapReward")


def test_cells_may_have_intervals_and_differences():
    comparison = compared({"DeSync": {"none": 0.44, "sections": 0.36}})
    comparison.cells[ALL]["DeSync"]["sections"] = Cell(0.36, 9, 0.3, 0.4, MeanInterval(-0.08, -0.1, -0.02, 9, 0))
    table = paper_table(comparison, STRATEGY)
    assert [column.title for column in table.columns] == ["CLAP", "DeSync", "CE", "CRW"]
    assert row(table.grid("t", intervals=True), "sections")["DeSync"] == "0.36 [0.3, 0.4]*"
    assert row(table.grid("t"), "sections")["DeSync"] == "0.36"
    assert table.as_dict()["systems"]["sections"]["DeSync"]["difference"] == -0.08
    assert json.loads(json.dumps(table.as_dict()))["columns"] == ["CLAP", "DeSync", "CE", "CRW"]


def test_parameters_are_counted_without_loading(tiny_model_folder):
    data = (tiny_model_folder / "model.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    shapes = [tensor["shape"] for name, tensor in header.items() if name.startswith("transformer.")]
    assert num_parameters(str(tiny_model_folder)) == sum(map(math.prod, shapes))
    assert num_parameters(str(tiny_model_folder / "gone")) is None


def test_the_truth_is_known_by_its_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.wav").write_bytes(b"")
    entries = [ManifestEntry(name, audio=tmp_path / f"{name}.wav") for name in ("a", "b")]
    same = {entry.id: Path(tmp_path, ".", f"{entry.id}.wav") for entry in entries}
    assert is_truth(System("x", same), entries)
    assert not is_truth(System("x", {"a": same["a"]}), entries)
    assert not is_truth(System("x", same | {"b": same["a"]}), entries)


@pytest.mark.parametrize("column", MAIN, ids=lambda column: column.title)
def test_a_column_has_one_source(column):
    assert bool(column.scorers) + bool(column.fact) == 1
