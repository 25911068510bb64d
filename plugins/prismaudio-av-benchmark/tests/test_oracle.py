"""The packages of the authors compute the same from the same weights, and made the golden numbers of the other tests.

The files in `data` are written by the tests that compare them when they are not there.
"""

import importlib
import json
import re
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from prismaudio.audio.resample import sinc_resample
from prismaudio_av_benchmark import imagebind as our_imagebind
from prismaudio_av_benchmark import panns as our_panns
from prismaudio_av_benchmark import passt as our_passt
from prismaudio_av_benchmark import vggish as our_vggish
from prismaudio_av_benchmark.imagebind import ImageBind
from prismaudio_av_benchmark.panns import Panns
from prismaudio_av_benchmark.passt import Passt
from prismaudio_av_benchmark.vggish import Vggish

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]  # theirs
GOLDEN = Path(__file__).with_name("data") / "golden.npz"
NAMES = Path(__file__).with_name("data") / "names.json"
RATE_HZ = 22_050


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Modules of the packages, imported without what they download or need for files and texts."""
    home = tmp_path_factory.mktemp("home")
    labels = home / "panns_data" / "class_labels_indices.csv"
    labels.parent.mkdir()
    labels.write_text("index,mid,display_name\n0,/m/09x0r,Speech\n")
    unused = ("pytorchvideo", "pytorchvideo.data", "pytorchvideo.data.clip_sampling", "pytorchvideo.data.encoded_video")
    unused += ("pkg_resources", "ftfy", "iopath", "iopath.common", "iopath.common.file_io", "resampy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for name in unused:
            patch.setitem(sys.modules, name, MagicMock())
        names = (
            *("panns_inference.models", "hear21passt.base", "hear21passt.models.passt", "torchvggish.torchvggish"),
            *("torchvggish.vggish_input", "imagebind.models.imagebind_model", "imagebind.data"),
        )
        yield {name: importlib.import_module(name) for name in names}


def small_panns(packages, form):
    module = packages["panns_inference.models"]
    theirs = module.Cnn14(16_000, 512, 160, 64, 50, 8000, form["classes"])
    before = 1
    for index, channels in enumerate(form["channels"], 1):
        setattr(theirs, f"conv_block{index}", module.ConvBlock(before, channels))
        before = channels
    theirs.fc1, theirs.fc_audioset = torch.nn.Linear(before, before), torch.nn.Linear(before, form["classes"])
    return theirs


def small_vggish(packages, form):
    theirs = packages["torchvggish.torchvggish"].VGG(torch.nn.Sequential(*our_vggish._layers(form["channels"])), False)
    flat = form["channels"][-1] * 24
    for index, (before, after) in {
        0: (flat, form["hidden"]),
        2: (form["hidden"],) * 2,
        4: (form["hidden"], form["dim"]),
    }.items():
        theirs.embeddings[index] = torch.nn.Linear(before, after)
    return theirs


def full_vggish(packages):
    return packages["torchvggish.torchvggish"]._vgg(postprocess=False)


def passt_wrapper(packages, net):
    base = packages["hear21passt.base"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "get_model_passt", lambda **_: net)
        return base.get_basic_model(mode="all")


def small_passt(packages, form):
    return packages["hear21passt.models.passt"].PaSST(
        img_size=(128, 998), stride=(10, 10), num_classes=form["classes"], embed_dim=form["dim"], depth=form["depth"],
        num_heads=form["num_heads"], distilled=True,
    )  # fmt: skip


def imagebind_model(packages, audio, vision, dim):
    tiny = {f"{name}_{part}": 1 for name in ("text", "depth", "thermal", "imu") for part in ("num_blocks", "num_heads")}
    tiny |= {f"{name}_embed_dim": 16 for name in ("text", "depth", "thermal", "imu")}
    towers = {
        f"{name}_{part}": value
        for name, tower in (("audio", audio), ("vision", vision))
        for part, value in (("embed_dim", tower.dim), ("num_blocks", tower.depth), ("num_heads", tower.num_heads))
    }
    model = packages["imagebind.models.imagebind_model"].ImageBindModel
    return model(out_embed_dim=dim, **towers, **tiny)


def give(theirs, ours, our_names):
    """Give their network the weights of ours, under their names."""
    held, given = ours.state_dict(), {}
    for name, value in theirs.state_dict().items():
        renamed = our_names({name: value})
        given[name] = held[next(iter(renamed))] if renamed else value
    theirs.load_state_dict(given)
    return theirs.eval()


def mono(sound, rate_hz):
    return sinc_resample(sound.mean(0) - sound.mean(), RATE_HZ, rate_hz)


def their_panns(network, sound):
    """Levels, embedding, and logits, which they give as probabilities."""
    with torch.no_grad():
        levels = network.logmel_extractor(network.spectrogram_extractor(mono(sound, 16_000)[None]))[0, 0]
        found = network(mono(sound, 16_000)[None])
        logits = torch.logit(found["clipwise_output"].double()).float()
    return levels, found["embedding"], logits


def their_passt(wrapper, sound):
    samples = torch.zeros(1, 320_000)
    samples[0, : round(5.3 * 32_000)] = mono(sound, 32_000)
    with torch.no_grad():
        levels, found = wrapper.mel(samples)[0], wrapper(samples)
    dim = wrapper.net.embed_dim
    return levels, found[:, -dim:], found[:, :-dim]


def their_vggish(packages, network, sound):
    """Without the last ReLU, as in av-benchmark."""
    segments = packages["torchvggish.vggish_input"].waveform_to_examples(
        mono(sound, 16_000).numpy().astype("float64"), 16_000
    )
    network.embeddings = network.embeddings[:5]
    with torch.no_grad():
        return segments[:, 0].detach(), network(segments)


def their_clips(packages, sound):
    """Three clips of two seconds, at the places where pytorchvideo at ae9cfc6e cuts."""
    samples, data = sinc_resample(sound, RATE_HZ, 16_000), packages["imagebind.data"]
    longest_s = samples.shape[1] / 16_000 - 2
    starts = [int(longest_s * index / 2 * 16_000) for index in range(3)]
    clips = [data.waveform2melspec(samples[:, s : s + 32_000].clone(), 16_000, 128, 204) for s in starts]
    return (torch.stack(clips) + 4.268) / 9.138


def their_crops(packages, frames):
    """Pairs of frames, resized and cropped by torchvision and the package, as av-benchmark does."""
    transforms = importlib.import_module("torchvision.transforms.v2")
    resize = transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC)
    pixels = transforms.functional.to_dtype(resize(frames), torch.float32, scale=True)
    pixels = transforms.functional.normalize(pixels, our_imagebind.COLOUR_MEAN, our_imagebind.COLOUR_SPREAD)
    crops = torch.stack(packages["imagebind.data"].SpatialCrop(224, 3)([pixels]))
    return torch.cat([crops[:, start : start + 2] for start in range(len(frames) - 1)]).transpose(1, 2)


def their_imagebind(packages, network, sound, frames):
    clips, crops = their_clips(packages, sound), their_crops(packages, frames)
    with torch.no_grad():
        found = network({"audio": clips[None], "vision": crops[None]})
    return clips[:, 0], crops, found["audio"], found["vision"]


@pytest.fixture
def numbers(packages, panns, passt, vggish, imagebind, sound, frames, forms):
    """What the packages compute with small networks."""
    found = {}
    theirs = give(small_panns(packages, forms["panns"]), panns, our_panns.our_names)
    found["panns_levels"], found["panns"], found["panns_logits"] = their_panns(theirs, sound)
    theirs = give(small_passt(packages, forms["passt"]), passt, our_passt.our_names)
    found["passt_levels"], found["passt"], found["passt_logits"] = their_passt(
        passt_wrapper(packages, theirs).eval(), sound
    )
    theirs = give(small_vggish(packages, forms["vggish"]), vggish, our_vggish.our_names)
    found["vggish_levels"], found["vggish"] = their_vggish(packages, theirs, sound)
    theirs = give(imagebind_model(packages, **forms["imagebind"]), imagebind, our_imagebind.our_names)
    found["imagebind_levels"], _, found["imagebind_audio"], found["imagebind_video"] = their_imagebind(
        packages, theirs, sound, frames
    )
    for name in [name for name in found if name.endswith("_levels")]:
        found[name] = found[name].flatten()[::97]
    return {name: value.numpy().astype(np.float32) for name, value in found.items()}


def test_the_golden_numbers_are_those_of_the_packages(numbers):
    if not GOLDEN.exists():
        np.savez_compressed(GOLDEN, **numbers)
    golden = np.load(GOLDEN)
    assert set(golden) == set(numbers)
    for name, value in numbers.items():
        np.testing.assert_allclose(golden[name], value, rtol=1e-4, atol=1e-4, err_msg=name)


def rate(network, sound):
    return network.eval().embed(sound, RATE_HZ)


def check_names(network, state):
    """Compare names and shapes of tensors with those in the file, where numbered blocks are there once and counted."""
    found = {}
    for name, value in state.items():
        found.setdefault(re.sub(r"(?<=blocks\.)\d+", "#", name), [0, list(value.shape)])[0] += 1
    known = json.loads(NAMES.read_text()) if NAMES.exists() else {}
    if network not in known:
        NAMES.write_text(json.dumps(known | {network: found}, indent=1) + "\n")
    assert known.get(network, found) == found


def test_panns_of_the_published_size(packages, sound):
    torch.manual_seed(0)
    theirs = packages["panns_inference.models"].Cnn14(16_000, 512, 160, 64, 50, 8000, 527).eval()
    check_names("panns", theirs.state_dict())
    ours = Panns()
    ours.load_state_dict(our_panns.our_names(theirs.state_dict()))
    _, embedding, logits = their_panns(theirs, sound)
    found = rate(ours, sound)
    torch.testing.assert_close(found["2048"], embedding, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found["logits"], logits, atol=1e-3, rtol=1e-4)
    assert (found["2048"] > 0).float().mean() > 0.2


def test_passt_of_the_published_size(packages, sound):
    torch.manual_seed(0)
    theirs = passt_wrapper(packages, small_passt(packages, {"classes": 527, "dim": 768, "depth": 12, "num_heads": 12}))
    for parameter in theirs.net.head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    check_names("passt", theirs.net.state_dict())
    ours = Passt()
    ours.load_state_dict(our_passt.our_names(theirs.eval().net.state_dict()))
    _, embedding, logits = their_passt(theirs, sound)
    found = rate(ours, sound)
    torch.testing.assert_close(found["768"], embedding, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found["logits"], logits, atol=1e-3, rtol=1e-4)


def test_vggish_of_the_published_size(packages, sound):
    torch.manual_seed(0)
    theirs = full_vggish(packages).eval()
    check_names("vggish", theirs.state_dict())
    ours = Vggish()
    ours.load_state_dict(our_vggish.our_names(theirs.state_dict()))
    segments, embeddings = their_vggish(packages, theirs, sound)
    assert len(segments) == 5
    torch.testing.assert_close(rate(ours, sound)["128"], embeddings, atol=1e-5, rtol=1e-4)


def test_imagebind_of_the_published_size(packages, sound, frames):
    torch.manual_seed(0)
    theirs = packages["imagebind.models.imagebind_model"].imagebind_huge().eval()
    check_names("imagebind", theirs.state_dict())
    with torch.device("meta"):
        ours = ImageBind()
    ours.load_state_dict(our_imagebind.our_names(theirs.state_dict()), assign=True)
    _, _, audio, video = their_imagebind(packages, theirs, sound, frames[:2])
    torch.testing.assert_close(rate(ours, sound)["audio"], audio, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.embed_frames(frames[:2]), video, atol=1e-5, rtol=1e-4)


def test_inputs_of_imagebind_are_those_of_the_package(packages, sound, frames):
    ours = our_imagebind.log_mel_clips(sound, RATE_HZ)
    torch.testing.assert_close(ours, their_clips(packages, sound)[:, 0], atol=1e-4, rtol=1e-4)
    for given in (frames, frames.transpose(2, 3), frames[:, :, :, :90]):
        pairs = our_imagebind.crops(given)
        theirs = their_crops(packages, given)
        assert pairs.shape == theirs.shape == (9, 3, 2, 224, 224)
        theirs = theirs.reshape(3, 3, *theirs.shape[1:]).transpose(0, 1).flatten(0, 1)  # ours: crop by crop
        assert (pairs - theirs).abs().max() < 0.02  # one step of a byte
        assert ((pairs - theirs).abs() > 1e-5).float().mean() < 0.01
