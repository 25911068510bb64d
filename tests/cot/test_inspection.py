"""Statistics of rows of chain-of-thought data, and ``prismaudio cot inspect``."""

from __future__ import annotations

import json

import pytest

from prismaudio.cli.main import main
from prismaudio.cot.inspection import CotFolder, CotStatistics, inspect_rows
from prismaudio.cot.report import statistics_figure
from prismaudio.cot.rows import CotRow
from prismaudio.errors import DataError

SECTIONS = {
    "semantic": "A dog barks twice.",
    "temporal": "The dog sounds at 0.50 s and 1.50 s.",
    "spatial": "The dog is on the left (azimuth -40°).",
}
ORIGIN = {"planner": "VlmPlanner", "model": "owner/model", "prompt": "semantic 1", "prompt_tokens": 100, "tokens": 7}
LATE = "a sound at {} s, but the clip lasts 4.00 s"


def row(name, **values):
    return CotRow(name, {"video": f"{name}.mp4"}, 4.0, **{"sections": SECTIONS, "accepted": True, **values})


ROWS = [
    row("a", gates={"OnsetGate": None, "SideGate": None}, scores={"TemporalReward": 0.9}, cot="One two three."),
    row("b", gates={"OnsetGate": LATE.format("9.10")}, skipped={"SideGate": "mono"}, accepted=False),
    row("c", gates={"OnsetGate": LATE.format("7.50")}, skipped={"SideGate": "mono", "Other": "dark"}, accepted=False),
    row(
        "d",
        gates={"OnsetGate": None},
        skipped={"TemporalReward": "no weights"},
        scores={"SpatialReward": 0.2},
        sections={"semantic": "A cat meows.", "spatial": "The cat moves from the left to the right."},
        origins={"semantic": {**ORIGIN, "seconds": 0.5}, "spatial": {**ORIGIN, "seconds": "soon"}},
        corrected=True,
    ),
]
SUMMARY = {
    "settings": {"rewards": {"TemporalReward": {}, "SpatialReward": {}}},
    "scores": {"SpatialReward": {"threshold": 0.5}},
    "failed": {"gone": "no such file"},
    "waiting": {"later": "the budget is used up"},
}


@pytest.fixture
def built(tmp_path):
    folder = tmp_path / "cot"
    folder.mkdir()
    (folder / "rows.jsonl").write_bytes(b"".join(one.line() for one in ROWS))
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    return folder


def described(folder):
    return inspect_rows(CotFolder.read(folder)).describe()


def test_rows_are_counted(built):
    found = described(built)
    assert [found[key] for key in ("rows", "accepted", "rejected", "corrected")] == [4, 2, 2, 1]
    assert found["failed"] == SUMMARY["failed"]
    assert found["waiting"] == SUMMARY["waiting"]
    assert found["damaged"] == {}


def test_gates_have_their_rates_reasons_and_examples(built):
    gates = described(built)["gates"]
    assert list(gates) == ["OnsetGate", "SideGate", "Other"]  # a reward is no gate
    onset, side = gates["OnsetGate"], gates["SideGate"]
    assert (onset["passed"], onset["rejected"], onset["rate"], onset["not_applicable"]) == (2, 2, 0.5, 0)
    assert onset["reasons"] == [{"reason": "a sound at … s, but the clip lasts … s", "rows": 2, "example": "b"}]
    assert onset["examples"] == {"accepted": "a", "rejected": "b"}
    assert (side["passed"], side["rejected"], side["rate"], side["not_applicable"]) == (1, 0, 0.0, 2)
    assert side["not_applicable_reasons"] == [{"reason": "mono", "rows": 2, "example": "b"}]
    assert side["examples"] == {"accepted": "a", "rejected": None}
    assert gates["Other"]["rate"] is None


def test_scores_have_quantiles_and_what_is_below_their_threshold(built):
    scores = described(built)["scores"]
    assert scores["TemporalReward"]["mean"] == 0.9
    assert scores["TemporalReward"]["not_scored"] == 1
    assert scores["TemporalReward"]["threshold"] is None
    assert (scores["SpatialReward"]["threshold"], scores["SpatialReward"]["below"]) == (0.5, 1)


def test_lengths_classes_and_events_are_those_of_the_sections(built):
    found = described(built)
    assert found["words"]["semantic"]["mean"] == pytest.approx((4 + 4 + 4 + 3) / 4)
    assert found["words"]["temporal"]["n"] == 3
    assert found["words"]["cot"]["n"] == 1
    assert found["classes"] == {"dog": 3, "cat": 1}
    assert found["events"]["total"] == 6
    assert found["events"]["times_s"]["median"] == 1.0
    assert found["events"]["sides"] == {"left": 4, "ahead": 0, "right": 0, "not_stated": 0, "moving": 1}


def test_who_wrote_the_sections_and_what_it_cost(built):
    found = described(built)
    written = {"planner": "VlmPlanner", "model": "owner/model", "prompt": "semantic 1", "rows": 1}
    assert found["written_by"] == [{"section": "semantic", **written}, {"section": "spatial", **written}]
    assert found["tokens"] == {"prompt": 200, "answer": 14}
    assert found["seconds"] == 0.5


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "x", "clip"',
        "[]",
        "7",
        '{"id": "x"}',
        '{"id": 7, "clip": {}, "duration_s": 1, "sections": {}}',
        '{"id": "x", "clip": {}, "duration_s": 1, "sections": {"semantic": 7}}',
        '{"id": "x", "clip": {}, "duration_s": NaN, "sections": {}}',
        '{"id": "x", "clip": {}, "duration_s": 1, "sections": {}, "scores": {"a": "high"}}',
        '{"id": "x", "clip": {}, "duration_s": 1, "sections": {}, "gates": {"a": 1}}',
        '{"id": "x", "clip": {}, "duration_s": 1, "sections": {}, "origins": {"a": "me"}}',
        "\udcff",
    ],
)
def test_a_damaged_line_is_left_out_and_counted(built, line, capsys):
    with (built / "rows.jsonl").open("ab") as file:
        file.write(line.encode("utf-8", "surrogateescape") + b"\n")
    found = CotFolder.read(built)
    assert list(found.rows) == ["a", "b", "c", "d"]
    assert list(found.damaged) == ["rows.jsonl, line 5"]
    assert main(["cot", "inspect", str(built)]) == 0
    assert "1 damaged lines are left out" in capsys.readouterr().err


def test_a_build_that_is_not_finished_is_read_from_the_files_of_its_processes(tmp_path):
    failed = json.dumps({"id": "x", "request": "1", "failed": "no such file"})
    again = json.dumps({"id": "b", "request": "1", "waiting": "no answer"})
    (tmp_path / "rows-1of2.jsonl").write_bytes(f"{failed}\n{again}\n".encode() + ROWS[0].line() + b'{"id": "torn')
    (tmp_path / "rows-2of2.jsonl").write_bytes(ROWS[1].line())
    found = CotFolder.read(tmp_path)
    assert list(found.rows) == ["a", "b"]
    assert (found.failed, found.waiting, found.damaged) == ({"x": "no such file"}, {}, {})


def test_a_folder_without_rows_is_an_error_of_one_line(tmp_path, capsys):
    file, other, empty, damaged = (tmp_path / name for name in ("file", "other", "empty", "damaged"))
    file.write_text("")
    for folder in (other, empty, damaged):
        folder.mkdir()
    (other / "clips.csv").write_text("video\n")
    (empty / "rows.jsonl").write_text("")
    (damaged / "rows.jsonl").write_text("no JSON\n")
    expected = {
        tmp_path / "none": "is not a folder",
        file: "is not a folder",
        other: "has no rows.jsonl; expected a folder that prismaudio cot build wrote",
        empty: "has no rows; run prismaudio cot build",
        damaged: "has no rows that can be read: rows.jsonl, line 1",
    }
    for folder, text in expected.items():
        assert main(["cot", "inspect", str(folder)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert text in line
        with pytest.raises(DataError):
            CotFolder.read(folder)
    assert main(["cot", "inspect"]) == 2
    assert "required: DIR" in capsys.readouterr().err


def test_the_command_prints_tables_and_writes_json_and_a_plot(built, tmp_path, capsys):
    report, plot = tmp_path / "out" / "cot.json", tmp_path / "cot.png"
    assert main(["cot", "inspect", str(built), "--json", str(report), "--plot", str(plot)]) == 0
    shown = capsys.readouterr().out
    for text in ("4 rows, 2 accepted, 2 rejected, 1 corrected", "50.0%", "2× a sound at … s", "owner/model", "dog"):
        assert text in shown
    assert json.loads(report.read_text()) == described(built)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert main(["cot", "inspect", str(built), "--json", str(report)]) == 0  # its own result is replaced
    capsys.readouterr()
    assert main(["cot", "inspect", str(built), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == described(built)


def test_a_terminal_never_sees_markup_or_control_characters_of_rows(tmp_path, capsys):
    hostile = row("[bold]x\x1b[2J", gates={"[red]Gate\x1b": "\x1b]0;title\x07 [/]"}, accepted=False)
    (tmp_path / "rows.jsonl").write_bytes(hostile.line())
    assert main(["cot", "inspect", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[red]Gate" in shown


def test_the_figure_shows_every_gate_and_copes_with_nothing():
    found = CotStatistics(CotFolder(rewards=["TemporalReward"]))
    for one in ROWS:
        found.add(one, one.plan.story)
    gates = statistics_figure(found).axes[0]
    assert [label.get_text() for label in gates.get_yticklabels()] == ["Other", "SideGate", "OnsetGate"]
    assert [bar.get_width() for bar in gates.containers[0]] == [0, 0, 50]
    empty = CotStatistics(CotFolder())
    empty.add(CotRow("a", {}, 1.0, {}), CotRow("a", {}, 1.0, {}).plan.story)
    statistics_figure(empty)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--json", "{folder}/rows.jsonl"], "is not the result of an inspection"),
        (["--html", "{folder}/rows.jsonl"], "is not a page of this command"),
        (["--html", "{folder}"], "is a folder"),
        (["--plot", "{folder}/rows.jsonl"], "expected a name that ends in .png, .pdf, .svg"),
    ],
)
def test_files_of_others_are_never_overwritten(built, options, text, capsys):
    before = (built / "rows.jsonl").read_bytes()
    assert main(["cot", "inspect", str(built), *(option.format(folder=built) for option in options)]) == 2
    assert text in capsys.readouterr().err
    assert (built / "rows.jsonl").read_bytes() == before
