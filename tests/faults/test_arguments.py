"""Invalid arguments are rejected with one readable line."""

from __future__ import annotations

import pytest

from prismaudio.cli.main import main
from prismaudio.errors import PrismAudioError
from prismaudio.paths import expanded

LONG = "x" * 20_000


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["plugins"], "see prismaudio plugins --help"),
        (["plugins", "nope"], "invalid choice: 'nope'"),
        (["plugins", "list", "--nope"], "unrecognized arguments: --nope"),
        (["plugins", "new", "x"], "--dimension"),
        (["recipes"], "see prismaudio recipes --help"),
        (["recipes", "copy"], "see prismaudio recipes copy --help"),
        (["plugins", "check", LONG], "is named 'xxx"),
        (["recipes", "show", LONG], "is named 'xxx"),
        ([LONG], "there is no command 'xxx"),
        (["generate", "--seed", "9" * 5000, "--prompt", "x"], "see prismaudio generate --help"),
        (["generate", "--seed", str(2**63), "--prompt", "x"], "out of range"),
        (["generate", "~nosuchuser/x.mp4"], "~nosuchuser has no home folder"),
        (["generate", "--prompt", "x", "--duration", "1", "-o", "~nosuchuser/x"], "~nosuchuser has no home folder"),
        (["plan", "~nosuchuser/x.mp4"], "~nosuchuser has no home folder"),
        (["plan", "a\0b.mp4"], "contains a NUL byte"),
        (["score", "~nosuchuser/x.wav"], "~nosuchuser has no home folder"),
        (["generate", "--prompt", "x", "--duration", "1", "--precision=--"], "argument --precision: expected a value"),
        (["generate", "--prompt", "x", "--duration", "1", "--device", "meta"], "device 'meta' is not available"),
        (["extract", LONG, "-o", "x"], "xxx"),
    ],
)
def test_a_refusal_is_one_short_line(tiny_plugin, capsys, monkeypatch, tmp_path, words, says):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("prismaudio: error: ")
    assert says in line
    assert len(line) < 1100
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["~nosuchuser", "~nosuchuser/x", "a\0b"])
def test_an_invalid_path_is_reported(path):
    with pytest.raises(PrismAudioError, match=r"home folder|NUL"):
        expanded(path)


def test_a_path_of_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert [str(expanded(path)) for path in ("~/a", "a/~", "~")] == ["/home/me/a", "a/~", "/home/me"]


@pytest.mark.parametrize("seed", [-1, 2**63, 10**400, 10**5000], ids=["negative", "63 bits", "long", "longer"])
def test_a_seed_that_is_out_of_range_is_named(tiny_model, seed):
    with pytest.raises(PrismAudioError, match=r"^the seed .{1,45} is out of range") as error:
        tiny_model.request(prompt="a bell", duration_s=1.0, seed=seed)
    assert len(str(error.value)) < 150


def test_what_an_error_quotes_is_shortened_in_the_middle():
    text = str(PrismAudioError(f"no file {LONG}; expected a video"))
    assert text.startswith("no file xxx")
    assert text.endswith("xxx; expected a video")
    assert len(text) == 1000
