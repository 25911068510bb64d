"""Planners on the command line, in model folders and in extraction, with an endpoint of ours."""

from __future__ import annotations

import json

import pytest
import torch
from chat_server import MODEL, Fault, serving
from streams import streams

from prismaudio import PrismAudio
from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.cli.main import main
from prismaudio.encoders.brightness import BrightnessEncoder
from prismaudio.errors import CheckpointError
from prismaudio.media import write_video
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.plan import Plan
from prismaudio_vlm.api_chat import ApiPlanner

KEY = "sk-very-secret-1234567890"


@pytest.fixture
def server():
    with serving() as found:
        yield found


@pytest.fixture
def videos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRISMAUDIO_DISABLE_PLUGINS", "studio,loudness,speechfree")  # they complete plans
    for name, level in (("a.mp4", 255), ("b.mp4", 120)):
        frames = torch.zeros(16, 3, 32, 32, dtype=torch.uint8)
        frames[8:] = level
        write_video(frames, 8, tmp_path / "videos" / name)
    return tmp_path / "videos"


def planner(server, **arguments):
    """The words that choose the planner."""
    words = ["--planner", "ApiPlanner"]
    for name, value in {"model": MODEL, "base_url": server.url, **arguments}.items():
        words += [f"--planner.{name}", str(value)]
    return words


def model_with(planner, folder):
    """A small model with random weights in a folder."""
    torch.manual_seed(0)
    autoencoder = OobleckAutoencoder(4, (1, 2, 4), (4, 8, 8), latent_channels=8, sample_rate_hz=16_000)
    dim = BrightnessEncoder().dim
    transformer = DiffusionTransformer(8, dim=64, depth=1, num_heads=2, streams=streams(64, ["video"], video=dim))
    PrismAudio(transformer, autoencoder, {"video": BrightnessEncoder()}, planner).save_pretrained(folder)
    return str(folder)


def test_plan_writes_the_answers_of_the_endpoint(server, videos, capsys):
    assert main(["plan", str(videos / "a.mp4"), *planner(server)]) == 0
    plan = Plan.load("a.plan.txt")
    assert list(plan)[:4] == ["semantic", "temporal", "aesthetic", "spatial"]
    assert plan.story.sources[0].what == "dog"
    capsys.readouterr()
    n_requests = len(server.requests)
    assert main(["plan", str(videos / "a.mp4"), *planner(server), "--force"]) == 0
    assert len(server.requests) == n_requests  # from the cache


def test_generate_records_who_wrote_what_and_goes_on_after_a_failure(server, videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.key = KEY
    model = model_with(None, tmp_path / "model")
    words = ["generate", str(videos), "--model", model, "--steps", "1", "-o", "out", "--prompt", "a dog"]
    assert main([*words, *planner(server)]) == 0
    told = json.loads((tmp_path / "out" / "a.json").read_text())
    assert told["plan_origins"]["semantic"] == {"planner": "user"}
    temporal = told["plan_origins"]["temporal"]
    assert (temporal["planner"], temporal["model"], temporal["asked"]) == ("ApiPlanner", MODEL, 1)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in written
    assert KEY not in "".join(capsys.readouterr())


def test_without_a_key_an_endpoint_or_the_model_there_is_one_line(server, videos, monkeypatch, capsys):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def error(*words):
        assert main(["plan", str(videos / "a.mp4"), "-o", "-", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "OPENAI_API_KEY" in error(*planner(server, base_url="https://api.example.com/v1"))
    assert MODEL in error(*planner(server, model="other"))
    assert "127.0.0.1" in error(*planner(server, base_url="http://127.0.0.1:9/v1", max_retries=0))
    assert "model" in error("--planner", "ApiPlanner")
    assert "model" in error("--planner", "VlmPlanner")
    assert "no/where" in error("--planner", "VlmPlanner", "--planner.model", "./no/where")


@pytest.mark.parametrize(("batch_size", "finished"), [("1", (0, 1, 2)), ("2", (0, 0, 2))])
def test_a_budget_that_is_used_up_loses_nothing(server, videos, tmp_path, capsys, batch_size, finished):
    model = model_with(None, tmp_path / "model")
    words = ["generate", str(videos), "--model", model, "--steps", "1", "-o", "out", "--batch-size", batch_size]
    for budget, done in zip((3, 3, 20), finished, strict=True):  # videos of a batch are asked about together
        assert main([*words, *planner(server, max_requests=budget)]) == (0 if done == 2 else 2)
        assert ("the 3 requests of max_requests are used up" in capsys.readouterr().err) == (done < 2)
        assert len(list((tmp_path / "out").glob("*.json"))) == done
    assert len(server.questions) == 8  # each once


def test_a_question_without_an_answer_is_asked_again_by_the_next_run(server, videos, capsys):
    server.faults = [Fault(400, {"error": {"message": "the image is odd"}})]
    words = ["plan", str(videos / "a.mp4"), "-o", "-", *planner(server)]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "ApiPlanner got no answer for the semantic section: 127.0.0.1" in line
    n_questions = len(server.questions)
    assert main(words) == 0
    assert "<Semantic>" in capsys.readouterr().out
    assert len(server.questions) <= n_questions + 4


def test_a_model_folder_keeps_its_planner_and_not_the_address(server, videos, tmp_path, monkeypatch):
    folder = model_with(ApiPlanner(MODEL, server.url, fps=1.0), tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    described = config["components"]["planner"]
    assert described["class"] == "prismaudio_vlm.api_chat:ApiPlanner"
    assert described["arguments"]["fps"] == 1.0
    assert "base_url" not in described["arguments"]
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    loaded = PrismAudio.from_pretrained(folder)
    assert loaded.planner.fields["model"] == MODEL
    plan = loaded.plan(videos / "a.mp4")
    assert plan.origins["spatial"]["planner"] == "ApiPlanner"
    assert main(["plan", str(videos / "b.mp4"), "--planner", folder, "-o", "b.txt"]) == 0
    assert Plan.load("b.txt")["semantic"]
    described["arguments"]["base_url"] = "https://example.com/v1"
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"planner\.arguments has base_url, which only the user sets"):
        PrismAudio.from_pretrained(folder)


def test_extraction_writes_plans_with_it(server, videos, tmp_path, capsys):
    (tmp_path / "clips.csv").write_text("id,video\na,videos/a.mp4\nb,videos/b.mp4\n")
    described = f"{{class_path: ApiPlanner, init_args: {{model: {MODEL}, base_url: '{server.url}'}}}}"
    words = ["extract", "clips.csv", "-o", "features", "--encoder", "video=BrightnessEncoder", "--autoencoder", "none"]
    assert main([*words, "--planner", described]) == 0
    assert "2 clips computed" in capsys.readouterr().err
    assert len(server.questions) >= 8
