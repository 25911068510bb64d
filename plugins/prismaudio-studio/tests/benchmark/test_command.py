"""``prismaudio bench`` with a tiny model, and with invalid input."""

import json

import pytest

from prismaudio.cli.bench import main as bench
from prismaudio.cli.main import main
from prismaudio_studio.classifier import SourceClassifier


def test_a_model_folder_is_measured(tiny_model_folder, tmp_path, capsys) -> None:
    out = tmp_path / "out.json"
    options = [
        "--limit",
        "3",
        "--seeds",
        "1",
        "--edit-limit",
        "1",
        "--model",
        str(tiny_model_folder),
        "--json",
        str(out),
    ]
    assert main(["bench", "studio", "--seed", "5", *options]) == 0
    read = json.loads(out.read_text())
    assert list(read["rows"]) == ["truth", "codec", "given_plan", "end_to_end", "shuffled"]
    assert read["rows"]["truth"]["onset_f1_mixed"]["mean"] > read["rows"]["given_plan"]["onset_f1_mixed"]["mean"]
    assert {"seed", "limit", "split", "model", "versions", "seconds"} <= set(read["meta"])
    assert "onset_f1_single" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--model", "nowhere"], "no model at nowhere"),
        (["--rows", "truth", "--json", "."], "is a folder"),
        (["--rows", "truth", "--limit", "1", "--edit-limit", "0", "--json", "/dev/null/x.json"], "cannot write"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(options, text, capsys) -> None:
    assert main(["bench", "studio", *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("prismaudio: error: ")
    assert text in error


@pytest.mark.parametrize(
    "options",
    [
        ["studio", "--limit", "0"],
        ["studio", "--rows", "truth,lies"],
        ["studio", "--split", "real"],
    ],
)
def test_bad_options_are_refused(options, capsys) -> None:
    assert main(["bench", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("prismaudio: error: argument ")
    assert error.count("\n") == 1


def test_the_classifier_is_refitted(tmp_path, monkeypatch) -> None:
    from prismaudio_studio.benchmark import instruments

    monkeypatch.setattr(instruments, "STEPS", 3)
    monkeypatch.setattr(instruments, "BASIS_CLIPS", 8)
    monkeypatch.setattr(instruments, "accuracy", lambda *_: 0.5)
    for name in ("a", "b"):
        assert bench(["instruments", "--count", "3", "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert len(SourceClassifier.load(tmp_path / "a").classes) == 12
