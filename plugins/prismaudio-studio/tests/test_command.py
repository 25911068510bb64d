import pytest

from prismaudio.cli.main import main


def test_renders_and_skips(tmp_path, capsys):
    arguments = ["studio", "render", "--count", "2", "--size", "32", "--fps", "8", "-o", str(tmp_path / "clips")]
    assert main(arguments) == 0
    assert len(list((tmp_path / "clips").iterdir())) == 8
    assert all("held-out" in path.name for path in (tmp_path / "clips").iterdir())
    capsys.readouterr()
    assert main(arguments) == 0
    assert capsys.readouterr().err.count("already there") == 2


def test_randomised_and_training_clips_are_named(tmp_path):
    arguments = ["studio", "render", "--count", "1", "--split", "randomised", "--no-held-out", "--size", "32x48"]
    assert main([*arguments, "--fps", "8", "-o", str(tmp_path)]) == 0
    assert (tmp_path / "randomised-0-00000.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "required: render"),
        (["render"], "-o/--out"),
        (["render", "--count", "-1", "-o", "x"], "whole number"),
        (["render", "--size", "8", "-o", "x"], "16 to 2048"),
        (["render", "--fps", "0", "-o", "x"], "not a frame rate"),
        (["render", "--split", "plane", "-o", "x"], "'plane'"),
        (["render", "-o", "/dev/null"], "cannot make the folder"),
    ],
)
def test_bad_input_is_one_line(arguments, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["studio", *arguments]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help_says_that_clips_are_held_out(capsys):
    with pytest.raises(SystemExit):
        main(["studio", "render", "--help"])
    assert "HELD OUT" in capsys.readouterr().out
