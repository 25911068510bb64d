"""The metrics keep their contract, and are columns with a reason where weights are missing."""

import json
import math
import re
import warnings

import pytest
import torch

from prismaudio.cli.main import main
from prismaudio.metrics.features import KlDivergence
from prismaudio.metrics.target import Target
from prismaudio.testing import check_metric
from prismaudio.testing.examples import example_audio, example_clip, example_plan
from prismaudio_av_benchmark import metrics
from prismaudio_av_benchmark.metrics import (
    ImageBindReward,
    ImageBindScore,
    PannsFrechetDistance,
    PannsInceptionScore,
    PannsKernelDistance,
    PannsKlDivergence,
    PasstFrechetDistance,
    PasstInceptionScore,
    PasstKernelDistance,
    PasstKlDivergence,
    VggishFrechetDistance,
    VggishKernelDistance,
)

RATE_HZ = 16_000
OF_PANNS = (PannsFrechetDistance, PannsKernelDistance, PannsKlDivergence, PannsInceptionScore)
OF_PASST = (PasstFrechetDistance, PasstKernelDistance, PasstKlDivergence, PasstInceptionScore)
OF_VGGISH = (VggishFrechetDistance, VggishKernelDistance)


@pytest.mark.parametrize("kind", [PannsKlDivergence, PannsInceptionScore, VggishFrechetDistance, PannsKernelDistance])
def test_the_metrics_keep_their_contract(kind, panns, vggish):
    network = vggish if kind in OF_VGGISH else panns
    check_metric(kind(network=network), clip=example_clip(1.5), plan=example_plan(), duration_s=1.5)


@pytest.mark.parametrize("kind", [*OF_PANNS, *OF_PASST, *OF_VGGISH])
def test_the_metrics_tell_equal_sounds_from_others_and_ignore_dc(kind, panns, passt, vggish):
    network = panns if kind in OF_PANNS else passt if kind in OF_PASST else vggish
    clip, metric = example_clip(2.5), kind(network=network)
    noise = example_audio(2.5)[1]
    values = []
    for sound, rate_hz in ((clip.audio, clip.sample_rate_hz), (noise, RATE_HZ), (noise * 0.5 + 0.3, RATE_HZ)):
        metric.reset()
        for part in (sound, 0.5 * sound):
            metric.update(part[None], rate_hz, [Target.of(clip)])
        values.append(metric.compute().item())
    assert not metric.state_dict()
    same, other, shifted = values
    if kind in (PannsInceptionScore, PasstInceptionScore):
        assert other >= 1 - 1e-9
    elif kind in (PannsKernelDistance, PasstKernelDistance):
        return  # of two clips whose references are equal
    else:
        assert other > same + 1e-9
    metric.reset()
    for part in (0.5 * noise, 0.25 * noise):
        metric.update(part[None], RATE_HZ, [Target.of(clip)])
    assert shifted == pytest.approx(metric.compute().item(), abs=1e-6, rel=1e-2)


def test_the_imagebind_score_keeps_its_contract(imagebind):
    check_metric(ImageBindScore(network=imagebind, keep=False), clip=example_clip(4.0), plan=example_plan())


def test_a_distance_of_nothing_is_nan(panns):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert math.isnan(PannsFrechetDistance(network=panns).compute())


def test_metrics_of_a_network_share_what_it_computes(panns, sound, monkeypatch):
    calls = []
    compute = panns.compute
    monkeypatch.setattr(panns, "compute", lambda *words: calls.append(words) or compute(*words))
    clip = example_clip(1.3)
    for kind in OF_PANNS:
        kind(network=panns).update(sound[None, :, 5:], 22_050, [Target.of(clip)])
    assert len(calls) == 2


def test_values_are_those_of_the_features(panns, sound):
    clip = example_clip(2.0)
    metric = PannsKlDivergence(network=panns)
    metric.update(sound[None], 22_050, [Target.of(clip)])
    logits = [panns.embed(*given)["logits"] for given in ((sound, 22_050), (clip.audio, clip.sample_rate_hz))]
    expected = KlDivergence()
    expected.update(*logits)
    assert metric.compute() == expected.compute() > 0


def test_imagebind_compares_audio_with_frames(imagebind, sound, tmp_path, monkeypatch):
    clip = example_clip(4.0)
    metric = ImageBindScore(network=imagebind, keep=False)
    metric.update(sound[None], 22_050, [Target.of(clip)])
    value = metric.compute().item()
    frames = ImageBindReward(imagebind).prepare(clip, None)
    audio = imagebind.embed(sound, 22_050)["audio"]
    assert value == pytest.approx(torch.cosine_similarity(audio, frames["frames"]).item(), abs=1e-6)
    score = ImageBindReward(imagebind).score(torch.stack([sound, sound.flip(1)]), 22_050, [frames, frames])
    assert score[0].item() == pytest.approx(value, abs=1e-6)
    assert score.shape == (2,)
    metric.reset()
    metric.keep_prepared(tmp_path)
    metric.update(sound[None], 22_050, [Target.of(clip)])
    monkeypatch.setattr(imagebind, "embed_frames", None)  # they are kept
    metric.update(sound[None], 22_050, [Target.of(clip)])
    assert metric.compute().item() == pytest.approx(value, abs=1e-6)
    metric.update(sound[None], 22_050, [Target.of(example_clip(1.0).__class__("silent", 1.0))])
    assert metric.skipped == {0: "it needs frames, but there are none"}


def test_score_has_a_column_with_a_reason_for_what_has_no_weights(folders, monkeypatch, panns, capsys):
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(folders / "none"))
    monkeypatch.setattr(metrics, "load_panns", lambda _: panns)
    found = folders / "scores.jsonl"
    words = ["--reference", str(folders / "true"), "--rewards", "none", "--json", str(found)]
    assert main(["score", str(folders / "made"), *words]) == 0
    total = json.loads(found.read_text().splitlines()[-1])["all"]
    for kind in OF_PANNS:
        assert math.isfinite(total[kind.__name__]["value"])
    for kind in (*OF_PASST, *OF_VGGISH, ImageBindScore):
        row = total[kind.__name__]
        assert row["value"] is None
        assert re.search(r"is not on this machine; .* from https://.* put it at .*/none/weights/", row["reason"])
    assert (
        "PasstFrechetDistance, PasstKernelDistance, PasstKlDivergence, PasstInceptionScore: " in capsys.readouterr().out
    )
