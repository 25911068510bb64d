"""What somebody does who installed the package: ``python use.py FOLDER``, in that folder's environment.

Every command is one of ``prismaudio``, run in this process, which imports torch only once. What was found is printed
as one line of JSON.
"""

import csv
import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from prismaudio.cli.main import main


def prismaudio(*words):
    """What a command prints; it must succeed."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        code = main([str(word) for word in words])
    assert code == 0, f"{words}: {printed.getvalue()[-2000:]}"
    return printed.getvalue()


def listed():
    rows = json.loads(prismaudio("plugins", "list", "--json"))
    assert "torch" not in sys.modules
    return [row for row in rows if row["distribution"] == "prismaudio-tempo"]


def made_clips():
    """Two videos with sound, and a manifest of them."""
    from prismaudio_tempo.training import TempoClips

    from prismaudio.media import write_video
    from prismaudio.media.writing import write_video_with_audio

    rows = ["id,video"]
    for index in range(2):
        clip, _ = TempoClips(100, 2, 2.0, 8.0, 32, 16_000).clip(index)
        write_video(clip.frames, clip.fps, f"silent{index}.mp4")
        write_video_with_audio(f"silent{index}.mp4", clip.audio, clip.sample_rate_hz, f"clip{index}.mp4")
        rows.append(f"clip{index},clip{index}.mp4")
    Path("clips.csv").write_text("\n".join(rows) + "\n")


def generated():
    """Which streams matter to what a loaded model makes, and the report of what it made."""
    import torch

    from prismaudio import PrismAudio
    from prismaudio.types import Conditions, Features

    model = PrismAudio.from_pretrained("model")
    noise = torch.randn(1, 8, 20, generator=torch.Generator().manual_seed(0))
    flow = Features.pad([torch.ones(16, 4)])
    with torch.no_grad():
        without = model.transformer(noise, torch.ones(1) / 2, Conditions())
        changed = model.transformer(noise, torch.ones(1) / 2, Conditions(flow=flow))
    (report,) = Path("made").glob("*.json")
    return {
        "streams": list(model.transformer.streams),
        "flow counts": not torch.equal(without, changed),
        "plan": json.loads(report.read_text())["plan"],
    }


def extracted(folder):
    """What a shard says of the streams in it."""
    from prismaudio.data.features import index_file

    (shard,) = (path for path in Path(folder).iterdir() if path.suffix in (".safetensors", ".tar"))
    return index_file(shard).description["streams"]


def rewards_of(folder):
    """The mean reward of each update."""
    (table,) = Path(folder).rglob("metrics.csv")
    with table.open() as file:
        return [float(row["reward"]) for row in csv.DictReader(file) if row["reward"]]


def use():
    found = {"listed": listed()}
    made_clips()
    prismaudio("fit", "--config", "tempo/foundation")
    prismaudio("fit", "--config", "tempo/regression")
    prismaudio("fit", "--config", "tempo/planner")
    prismaudio("plan", "clip0.mp4", "--model", "model", "-o", "plan.txt")
    found["planned"] = Path("plan.txt").read_text()
    prismaudio("generate", "clip0.mp4", "--model", "model", "-o", "made", "--steps", "2", "--seed", "1")
    found |= generated()
    (wav,) = Path("made").glob("*.wav")
    prismaudio("score", wav, "--plan", "plan.txt", "--reward", "TempoReward", "--json", "scores.jsonl")
    found["score"] = json.loads(Path("scores.jsonl").read_text().splitlines()[0])["scores"]["TempoReward"]
    prismaudio("extract", "clips.csv", "--model", "model", "-o", "features")
    words = ["--data.class_path=ManifestDataModule", "--data.manifest=features", "--data.validation=0"]
    prismaudio("fit", "--config", "tempo/foundation", *words, "--model.pretrained=model", "--trainer.max_steps=1")
    found["extracted"] = extracted("features")
    prismaudio("fit", "--config", "tempo/fast_grpo", "--trainer.logger=CSVLogger", "--trainer.logger.save_dir=log")
    found["rewards"] = rewards_of("log")
    return found


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    print(json.dumps(use()))
