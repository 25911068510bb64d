"""Retrieval of captions by embeddings of clips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from prismaudio.cli.main import main
from prismaudio.encoders.brightness import BrightnessEncoder
from prismaudio.evaluation import retrieval
from prismaudio.evaluation.folds import assign_folds
from prismaudio.media import write_video

COLUMNS, N_CLIPS = 5, 24


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_ranks_are_those_of_sorting():
    scores, right = random(40, 17), torch.arange(40) % 17
    expected = [1 + sorted(row.tolist(), reverse=True).index(row[at]) for row, at in zip(scores, right, strict=True)]
    assert retrieval.ranks(scores, right).tolist() == expected
    assert retrieval.ranks(torch.zeros(2, 5), torch.tensor([0, 4])).tolist() == [5, 5]
    assert retrieval.ranks(torch.full((1, 5), torch.nan), torch.tensor([0])).tolist() == [5]


def test_ridge_is_the_textbook_solution_of_the_smallest_gcv_error():
    features, others = random(30, 8), random(5, 8, seed=1)
    targets = features @ random(8, 3, seed=2) + 2 * random(30, 3, seed=3) + 4
    scaled = (features - features.mean(0)) / features.std(0, correction=0)
    away = (others - features.mean(0)) / features.std(0, correction=0)
    centred = targets - targets.mean(0)
    errors = {}
    for strength in retrieval.STRENGTHS * torch.linalg.svdvals(scaled).square().mean():
        penalty = scaled.T @ scaled + strength * torch.eye(8, dtype=torch.float64)
        hat = scaled @ torch.linalg.solve(penalty, scaled.T) + 1 / 30
        rest = (torch.eye(30, dtype=torch.float64) - hat) @ targets
        errors[float(strength)] = float(rest.square().sum() / (30 - hat.trace()) ** 2)
    best = min(errors, key=errors.get)
    weights = torch.linalg.solve(scaled.T @ scaled + best * torch.eye(8, dtype=torch.float64), scaled.T @ centred)
    torch.testing.assert_close(retrieval.ridge(features, targets, others), away @ weights + targets.mean(0))


@pytest.mark.parametrize("n", [3, 30])
def test_ridge_takes_more_dimensions_than_clips_and_constant_features(n):
    predicted = retrieval.ridge(torch.cat([random(n, 50), torch.ones(n, 1)], 1), random(n, 4), random(6, 51))
    assert bool(predicted.isfinite().all())


def planted(noise):
    """Clips whose embeddings are a linear map of those of their captions, and noise."""
    texts = random(60, 12)
    clips = texts @ random(12, 20, seed=1) + noise * random(60, 20, seed=2)
    right = torch.arange(60)
    return clips, texts, right, assign_folds(right.tolist(), 3)


def test_a_linear_map_finds_what_is_there_and_not_with_shuffled_captions():
    found = retrieval.retrieve_by_map(*planted(0.1))
    assert (found == 1).double().mean() > 0.95
    shuffled = retrieval.retrieve_by_map(*planted(0.1), shuffled=0)
    assert 0.0 <= (shuffled <= 5).double().mean() < 0.5  # chance is 0.25
    clips, *rest = planted(0.1)
    assert (retrieval.retrieve_by_map(torch.ones_like(clips), *rest) == 20).all()


def test_captions_of_training_clips_do_not_compete():
    clips, texts, right, folds = planted(3.0)
    found = retrieval.retrieve_by_map(clips, texts, right, folds)
    assert found.max() <= 20
    assert retrieval.gallery_sizes(right, folds).tolist() == [20] * 60


def test_direct_retrieval_is_brute_force():
    clips, texts, right, folds = random(12, 6), random(9, 6, seed=1), torch.arange(12) % 9, torch.arange(12) % 9 % 2
    found = retrieval.retrieve_directly(clips, texts, right, folds)
    for at in range(12):
        gallery = {int(caption) for caption, fold in zip(right, folds, strict=True) if fold == folds[at]}
        cosine = {c: float(torch.cosine_similarity(clips[at], texts[c], dim=0)) for c in gallery}
        assert found[at] == sum(value >= cosine[int(right[at])] for value in cosine.values())


def test_equal_captions_are_one_hit_and_stay_together():
    captions, right = retrieval.distinct(["A dog barks!", "A cat.", "a dog  barks", "A cow."])
    assert (captions, right.tolist()) == (["A dog barks!", "A cat.", "A cow."], [0, 1, 0, 2])
    folds = assign_folds([str(n % 7) for n in range(50)], 3)
    assert len({(n % 7, int(fold)) for n, fold in enumerate(folds)}) == 7
    assert assign_folds(range(50), 3, 1).tolist() != assign_folds(range(50), 3, 2).tolist()


# The command ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def work(tmp_path, monkeypatch):
    """Clips with some of five columns lit, and captions that say which."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for number in range(1, N_CLIPS + 1):
        lit = [column for column in range(COLUMNS) if number >> column & 1]
        frames = torch.zeros(8, 3, 16, 40, dtype=torch.uint8)
        for column in lit:
            frames[..., 8 * column : 8 * column + 8] = 200
        write_video(frames, 8, tmp_path / f"clip{number}.mp4")
        caption = ", ".join(("one", "two", "three", "four", "five")[column] for column in lit)
        rows.append({"id": f"clip{number}", "video": f"clip{number}.mp4", "caption": caption})
        rows[-1]["events"] = "single" if len(lit) == 1 else "multi"
    write(rows)
    return tmp_path


def write(rows):
    Path("clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def rows():
    return [json.loads(line) for line in Path("clips.jsonl").read_text().splitlines()]


def compare(*words):
    return main(["evaluate", "video-encoders", "--suite", "clips.jsonl", "--folds", "2", "-o", "out", *words])


ENCODER = ("--encoder", "BrightnessEncoder", "--encoder.columns", str(COLUMNS))


def results():
    return json.loads(Path("out/video_encoders.json").read_text(encoding="utf-8"))


def recalls(way="linear map", group="all", name="BrightnessEncoder"):
    (row,) = (row for row in results()["rows"] if (row["encoder"], row["way"]) == (name, way))
    return [row["groups"][group][f"R@{at}"]["value"] for at in (1, 5, 10)]


def test_encoders_are_compared_with_controls(work, capsys):
    blind = ("--encoder", "blind=BrightnessEncoder", "--encoder.columns", "1")
    assert compare(*ENCODER, *blind, "--suite.group", "events") == 0
    found = results()
    assert (found["clips"], found["captions"], found["groups"]) == (24, 24, {"all": 24, "single": 5, "multi": 19})
    assert recalls()[1] > 0.9
    assert recalls("shuffled captions")[1] < 0.75
    assert recalls(name="blind")[1] < 0.75
    assert recalls("", name="chance") == pytest.approx([1 / 12, 5 / 12, 10 / 12])
    star = next(row for row in found["rows"] if (row["encoder"], row["way"]) == ("blind", "linear map"))
    assert star["groups"]["all"]["R@5"]["difference_high"] < 0
    said = capsys.readouterr()
    assert "BrightnessEncoder has no text tower" in said.out
    assert "single R@5 ↑" in said.out
    assert "BrightnessEncoder: 24 embeddings computed, 0 were there" in said.err
    assert "| BrightnessEncoder, linear map |" in Path("out/video_encoders.md").read_text(encoding="utf-8")


def test_a_second_run_computes_only_what_is_new(work, capsys):
    assert compare(*ENCODER) == 0
    before = results()
    assert compare(*ENCODER) == 0
    assert "0 embeddings computed, 24 were there" in capsys.readouterr().err
    assert results() == before
    assert compare("--encoder", "BrightnessEncoder", "--encoder.columns", "4") == 0  # other arguments
    assert "24 embeddings computed, 0 were there" in capsys.readouterr().err
    Path("out/embeddings/BrightnessEncoder.safetensors").write_bytes(b"damaged")
    assert compare(*ENCODER) == 0
    assert results()["rows"] == before["rows"]


def test_stored_features_are_an_encoder(work, capsys):
    words = ["extract", "clips.jsonl", "-o", "features", "--autoencoder", "none"]
    encoder = f"video={{class_path: BrightnessEncoder, init_args: {{columns: {COLUMNS}}}}}"
    assert main([*words, "--encoder", encoder]) == 0
    assert compare(*ENCODER, "--features", "stored=features") == 0
    assert recalls(name="stored") == recalls()
    capsys.readouterr()
    assert compare("--features", "features", "--stream", "sync") == 2
    assert "has no features of the stream sync; it has video" in capsys.readouterr().err
    write([*rows(), {**rows()[0], "id": "new", "caption": "none of them"}])
    assert main(["evaluate", "video-encoders", "--suite", "clips.jsonl", "--folds", "2", "-o", "more",
                 "--features", "features"]) == 2  # fmt: skip
    assert "1 clips are left out: features has no video features of clip new" in capsys.readouterr().out


class Pair:
    """What embeds clips and captions in one space: which columns are lit."""

    def __init__(self, columns=4, device="cpu", hidden="here"):
        self.encoder, self.hidden = BrightnessEncoder(columns), hidden

    def embed_clip(self, clip):
        return self.encoder.encode(clip, {}).mean(0)

    def embed_text(self, text):
        if self.hidden == "gone":
            return torch.full((5,), torch.nan)
        return torch.tensor([float(word in text) for word in ("one", "two", "three", "four", "five")])


def test_an_encoder_with_a_text_tower_has_a_line_without_training(work, capsys, monkeypatch):
    monkeypatch.setattr(BrightnessEncoder, "embedder", f"{__name__}:Pair")
    assert compare(*ENCODER, "--encoder.hidden", "here") == 0
    assert recalls("zero-shot")[0] > 0.9
    assert len(results()["rows"]) == 4
    assert compare(*ENCODER, "--encoder.hidden", "gone") == 0
    assert "– BrightnessEncoder, zero-shot: the embedding of the caption 'one' contains NaN" in capsys.readouterr().out


def test_a_text_encoder_may_be_what_is_mapped_to(work, tiny_plugin, capsys):
    assert compare(*ENCODER, "--text", "TinyTextEncoder", "--text.dim", "32") == 0
    assert results()["text"] == "TinyTextEncoder"
    assert recalls()[1] > 0.6
    assert compare(*ENCODER, "--text", "BrightnessEncoder") == 2
    assert "encodes video; expected an encoder of text" in capsys.readouterr().err


def test_clips_that_cannot_be_read_are_left_out(work, capsys):
    Path("clip3.mp4").write_bytes(b"broken")
    assert compare(*ENCODER) == 2
    assert results()["clips"] == 23
    assert "1 clips are left out: " in capsys.readouterr().out


def test_encoders_without_weights_have_an_empty_line(work, capsys, install):
    install(
        """
        from prismaudio.encoders.brightness import BrightnessEncoder
        from prismaudio.errors import CheckpointError

        class Lost(BrightnessEncoder):
            def __init__(self, columns: int = 4) -> None:
                raise CheckpointError("no file lost.pt; get it elsewhere")

        class Nan(BrightnessEncoder):
            def encode(self, clip, plan):
                return super().encode(clip, plan) / 0 * 0

        @hookimpl
        def prismaudio_encoders():
            return [Component("MODULE:Lost", "Lost."), Component("MODULE:Nan", "Nan.")]
        """
    )
    assert compare(*ENCODER, "--encoder", "Lost", "--encoder", "Nan") == 0
    said = capsys.readouterr().out
    assert "– Lost, linear map: no file lost.pt; get it elsewhere" in said
    assert "– Nan, linear map: it embeds no clip: the features of clip clip1 contain NaN" in said
    assert recalls()[1] > 0.9


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "there is no encoder to evaluate"),
        (("--encoder", "BrightnesEncoder"), "did you mean 'BrightnessEncoder'"),
        (("--encoder", "BrightnessEncoder", "--encoder.colums", "3"), "did you mean columns?"),
        (("--encoder", "BrightnessEncoder", "--encoder", "BrightnessEncoder"), "two encoders are named"),
        (("--encoder", "a/b=BrightnessEncoder"), "is not of letters"),
        (("--features", "gone"), "there is no folder gone"),
        (("--encoder", "BrightnessEncoder", "--features", "BrightnessEncoder=gone"), "two encoders are named"),
        ((*ENCODER, "--limit", "20"), "make 2 folds, the smallest with 10 captions, of which 10 are retrieved"),
        ((*ENCODER, "--folds", "1"), "out of range"),
    ],
)
def test_bad_input_is_one_line(work, capsys, words, error):
    assert compare(*words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert error in line
    assert not Path("out").exists()


def test_clips_without_captions(work, capsys):
    write([*rows(), {"id": "silent", "video": "clip1.mp4"}])
    assert compare(*ENCODER) == 0
    assert results()["clips"] == 24
    assert "1 clips have no caption: silent" in capsys.readouterr().out
    write([{key: value for key, value in row.items() if key != "caption"} for row in rows()])
    assert compare(*ENCODER) == 2
    assert "no clip of the suite has a caption" in capsys.readouterr().err
