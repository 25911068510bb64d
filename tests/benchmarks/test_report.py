"""The report has the form that was agreed on."""

import io
import json
import math

import pytest
from rich.console import Console

from prismaudio.benchmarks.report import Report
from prismaudio.errors import MediaError


def make_report() -> Report:
    report = Report(("onset_f1_single", "edit_class"), {"truth": {}, "shuffled": {}}, {"seed": 3})
    for value in (0.5, 0.7):
        report.add("truth", "onset_f1_single", value)
    report.add("shuffled", "onset_f1_single", math.nan)
    return report


def test_json(tmp_path) -> None:
    make_report().save(tmp_path / "new" / "out.json")
    read = json.loads((tmp_path / "new" / "out.json").read_text())
    assert read["rows"]["truth"] == {"onset_f1_single": {"mean": 0.6, "sd": 0.141421}, "edit_class": None}
    assert read["rows"]["shuffled"] == {"onset_f1_single": None, "edit_class": None}
    assert read["meta"] == {"seed": 3}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.json"]


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match=r"cannot write .*--json"):
        make_report().save(tmp_path / "file" / "out.json")


def test_the_table_shows_means_and_gaps() -> None:
    console = Console(width=100, file=io.StringIO())
    console.print(make_report().table("title"))
    text = console.file.getvalue()
    assert "0.600 ± 0.141" in text
    assert "-" in text
