"""CLIP in ``prismaudio evaluate video-encoders``."""

import json
from pathlib import Path

import torch

from prismaudio.cli.main import main
from prismaudio.media import write_video


def test_clip_retrieves_captions_without_training(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number in range(24):
        frames = torch.randint(0, 255, (4, 3, 40, 50), dtype=torch.uint8, generator=generator)
        write_video(frames, 4, tmp_path / f"clip{number}.mp4")
        caption = " ".join(("a", "dog", "barks", "twice")[number >> 2 * at & 3] for at in range(3))
        rows.append({"id": f"clip{number}", "video": f"clip{number}.mp4", "caption": caption})
    Path("clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["evaluate", "video-encoders", "--suite", "clips.jsonl", "--folds", "2", "-o", "out"]
    words += ["--encoder", "ClipEncoder", "--encoder.weights", str(folders / "clip"), "--encoder", "lost=ClipEncoder"]
    assert main([*words, "--encoder.weights", str(tmp_path / "lost")]) == 0
    found = {
        (row["encoder"], row["way"]): row for row in json.loads(Path("out/video_encoders.json").read_text())["rows"]
    }
    assert list(found) == [
        *(("ClipEncoder", "zero-shot"), ("ClipEncoder", "linear map"), ("ClipEncoder", "shuffled captions")),
        *(("lost", "linear map"), ("chance", "")),
    ]
    assert found["ClipEncoder", "zero-shot"]["groups"]["all"]["R@10"]["n"] == 24
    assert "lost" in found["lost", "linear map"]["reason"]
    assert "ClipEncoder-pair: 24 embeddings computed" in capsys.readouterr().err
