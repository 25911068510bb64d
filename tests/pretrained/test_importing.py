"""Published checkpoints: small ones with random weights, and the names and shapes of the real ones."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from prismaudio.checkpoints import description, save_components
from prismaudio.errors import CheckpointError
from prismaudio.inference import PrismAudio
from prismaudio.pretrained import importing
from prismaudio.pretrained.importing import import_published, split_components
from prismaudio.types import Conditions, Features
from prismaudio.weight_files import below, read_weights

DATA = Path(__file__).parents[1] / "golden" / "data"
DIT, VAE = load_file(DATA / "dit_a.safetensors"), load_file(DATA / "vae_a.safetensors")
TRANSFORMER, AUTOENCODER = below(DIT, "w/"), below(VAE, "w/")
WHOLE = TRANSFORMER | {f"pretransform.model.{key}": value for key, value in AUTOENCODER.items()}
TRAINED = {f"autoencoder.{key}": value for key, value in AUTOENCODER.items()}


def manifest(name):
    """Shapes of the real file by name, as tensors that take no memory."""
    entries = json.loads(gzip.decompress((DATA / f"manifest_{name}.json.gz").read_bytes()))["entries"]
    return {entry["key"]: torch.empty(entry["shape"], device="meta") for entry in entries}


def new_names(weights):
    return {
        re.sub("weight_v$", "parametrizations.weight.original1", re.sub("weight_g$", PART, key)): value
        for key, value in weights.items()
    }


PART = "parametrizations.weight.original0"


def is_dead(key):
    """Whether a published entry is a constant, or nothing that any forward uses."""
    return re.match(r"model\.model\.(empty_|.*(norm\.beta|inv_freq)$)|conditioner\..*\.proj_out\.", key) is not None


def written(path, weights):
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    return path


def conditions():
    streams = ("video", "sync", "text")
    return Conditions({s: Features.pad([DIT[f"in/{s}_features/{i}"] for i in (0, 1)]) for s in streams})


def difference(ours, theirs):
    return float((ours - theirs).norm() / theirs.norm())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The model folder of a small published checkpoint."""
    place = tmp_path_factory.mktemp("published")
    save_components(place / "model", import_published(written(place / "prismaudio.ckpt", WHOLE)))
    return place / "model"


def test_a_converted_model_computes_what_the_published_one_does(folder):
    model = PrismAudio.from_pretrained(folder)
    alone = conditions().index(torch.tensor([0]))  # the published one is told of padding; one sample has none
    with torch.inference_mode():
        ours = model.transformer(DIT["in/x"][:1], DIT["in/t"][:1], alone)
        latents = model.autoencoder.encode(VAE["in/audio"])
        sound = model.autoencoder.decode(VAE["in/z"])
    assert difference(ours, DIT["out/velocity"][:1]) < 1e-5
    assert difference(latents, VAE["out/mean"]) < 1e-5
    assert difference(sound, VAE["out/decode"]) < 1e-5
    assert model.settings.segment_s is None
    assert model.settings.guidance.scale == 5
    assert model.sampler.config == {"steps": 24}


LAYOUTS = {
    "torch.ckpt": lambda: WHOLE,
    "wrapped.ckpt": lambda: {"state_dict": WHOLE, "global_step": 7},
    "prefixed.safetensors": lambda: {f"diffusion.{key}": value for key, value in WHOLE.items()},
    "model_prefixed.safetensors": lambda: {f"model.{key}": value for key, value in WHOLE.items()},
    "new_names.safetensors": lambda: new_names(WHOLE),
    "without_dead.safetensors": lambda: {key: value for key, value in WHOLE.items() if not is_dead(key)},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path, folder, name):
    found = import_published(written(tmp_path / name, LAYOUTS[name]()))
    usual = PrismAudio.from_pretrained(folder)
    for part in ("transformer", "autoencoder"):
        expected = getattr(usual, part).state_dict()
        ours, theirs = (json.loads(json.dumps(description(one))) for one in (found[part], getattr(usual, part)))
        assert ours == theirs
        assert all(torch.equal(value, expected[key]) for key, value in found[part].state_dict().items())


def test_bf16_and_an_autoencoder_from_elsewhere(tmp_path):
    half = written(tmp_path / "bf16.safetensors", {key: value.bfloat16() for key, value in TRANSFORMER.items()})
    alone = import_published(half)
    assert set(alone) == {"transformer", "sampler", "settings"}
    assert {value.dtype for value in alone["transformer"].state_dict().values()} == {torch.float32}
    extra = {"autoencoder_ema.x": torch.ones(1), "discriminator.weight": torch.ones(3)}
    vae = written(tmp_path / "vae.ckpt", {"state_dict": TRAINED | extra})
    both = import_published(half, vae)
    assert difference(both["autoencoder"].decode(VAE["in/z"]), VAE["out/decode"]) < 1e-5
    with torch.inference_mode():
        ours = both["transformer"](DIT["in/x"][:1], DIT["in/t"][:1], conditions().index(torch.tensor([0])))
    assert 1e-4 < difference(ours, DIT["out/velocity"][:1]) < 4e-2
    assert set(import_published(vae)) == {"autoencoder", "settings"}


def test_the_real_files_fit():
    found = split_components(Path("prismaudio.ckpt"), manifest("prismaudio_ckpt"))
    assert (len(found.transformer), len(found.autoencoder), found.unknown) == (485, 365, [])
    transformer, problems = importing._transformer(found.transformer)
    codec, more = importing._autoencoder(found.autoencoder)
    assert problems + more == []
    assert {name: (part.dim, part.token_dim) for name, part in transformer["streams"].items()} == {
        "video": (1024, 1024),
        "sync": (768, 1024),
        "text": (1024, 1024),
    }
    sizes = {"latent_channels": 64, "dim": 1024, "depth": 24, "num_heads": 16}
    assert sizes.items() <= transformer.items()
    assert codec["multipliers"] == [1, 2, 4, 8, 16]
    assert (codec["width"], codec["strides"], codec["latent_channels"]) == (128, [2, 4, 4, 8, 8], 64)


@pytest.mark.parametrize("names", [dict, new_names])
def test_the_real_autoencoder_fits(names):
    extra = {"discriminators.0.weight": torch.empty(1, device="meta"), "autoencoder_ema.encoder.x": torch.empty(0)}
    found = split_components(Path("vae.ckpt"), names(manifest("vae_ckpt")) | extra)
    assert (len(found.transformer), len(found.autoencoder), found.unknown) == (0, 365, [])
    assert importing._autoencoder(found.autoencoder)[1] == []


@pytest.mark.parametrize("name", ["prismaudio_ckpt", "vae_ckpt"])
def test_each_of_the_real_names_is_needed_and_each_shape_is_checked(name):
    found = split_components(Path(name), manifest(name))
    for part, check in ((found.transformer, importing._transformer), (found.autoencoder, importing._autoencoder)):
        if not part:
            continue
        told = [key for key in part if not re.search(r"layers\.0\.(weight|self_attn\.q_norm)|project_|embed", key)]
        lost, bent = set(told[::5]), set(told[1::5])  # without those that sizes are read from
        others = {key: torch.empty(*part[key].shape, 2, device="meta") if key in bent else part[key] for key in part}
        _, problems = check({key: value for key, value in others.items() if key not in lost})
        expected = {f"missing {key}" for key in lost if not is_dead(key)}
        expected |= {f"{key} is" for key in bent if not is_dead(key)}
        assert {re.sub(r" is \(.*", " is", problem) for problem in problems} == expected


def test_the_reader_picks_the_video_part_of_synchformer(tmp_path):
    shapes = manifest("synchformer_vfeat")
    stored = {key: torch.zeros(1).expand(value.shape) for key, value in shapes.items()}  # one number each on disk
    torch.save(stored | {"afeat_extractor.x": torch.ones(1)}, tmp_path / "synchformer.pth")
    found = below(read_weights(tmp_path / "synchformer.pth"), "vfeat_extractor.")
    assert {f"vfeat_extractor.{key}": value.shape for key, value in found.items()} == {
        key: value.shape for key, value in shapes.items()
    }


def test_a_file_of_the_real_size_with_one_name_too_many_is_refused(tmp_path):
    stored = {key: torch.zeros(1).expand(value.shape) for key, value in manifest("prismaudio_ckpt").items()}
    path = tmp_path / "prismaudio.ckpt"
    torch.save(stored | {"model.model.transformer.layers.24.ff.unheard_of": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match=r"unknown model\.model\.transformer\.layers\.24\.ff\.unheard_of"):
        import_published(path)


def lose(key):
    return lambda weights: weights.pop(key)


def put(key, value):
    return lambda weights: weights.update({key: value})


BAD = {
    "missing": (lose("model.model.to_cond_embed.0.weight"), r"missing model\.model\.to_cond_embed\.0\.weight$"),
    "missing norm": (lose("pretransform.model.decoder.layers.0.weight_g"), r"missing decoder\.layers\.0\.weight_g$"),
    "unknown": (put("model.model.extra", torch.ones(1)), r"unknown model\.model\.extra$"),
    "elsewhere": (put("optimizer.x", torch.ones(1)), r"unknown optimizer\.x$"),
    "vae": (put("pretransform.model.encoder.x", torch.ones(1)), r"unknown encoder\.x$"),
    "shape": (put("model.model.transformer.gate", torch.ones(1, 3)), r"gate is \(1, 3\), expected \(1, 1, 128\)$"),
    "kernel": (
        put("pretransform.model.encoder.layers.0.weight_v", torch.ones(8, 2, 5)),
        r"weight_v is \(8, 2, 5\), expected \(8, 2, 7\)$",
    ),
    "beta": (put("model.model.transformer.layers.1.ff_norm.beta", torch.ones(128)), r"1\.ff_norm\.beta is not zero$"),
    "rotary": (put("model.model.transformer.rotary_pos_emb.inv_freq", torch.ones(16)), r"rotary rates$"),
    "nan": (put("model.model.transformer.project_in.weight", torch.full((128, 8), torch.nan)), "NaN or infinity"),
    "vae nan": (put("pretransform.model.decoder.layers.0.bias", torch.full((128,), torch.inf)), "NaN or infinity"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit(tmp_path, case):
    change, words = BAD[case]
    weights = dict(WHOLE)
    change(weights)
    with pytest.raises(CheckpointError, match=words) as caught:
        import_published(written(tmp_path / "x.safetensors", weights))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_another_model(tmp_path):
    resnet = {"conv1.weight": torch.ones(8, 3, 7, 7), "layer1.0.bn1.weight": torch.ones(8)}
    with pytest.raises(CheckpointError, match="not a PrismAudio checkpoint: none of its 2 weights"):
        import_published(written(tmp_path / "resnet.safetensors", resnet))
    cousin = {key: value for key, value in TRANSFORMER.items() if "conditioner" not in key and "sync" not in key}
    cousin["conditioner.conditioners.prompt.proj_out.weight"] = torch.ones(2, 2)
    with pytest.raises(CheckpointError, match=r"does not fit: missing .*sync") as caught:
        import_published(written(tmp_path / "cousin.safetensors", cousin))
    assert len(str(caught.value)) < 3000


def test_parts_that_do_not_belong_together(tmp_path):
    small = {f"autoencoder.{k}": v for k, v in below(load_file(DATA / "vae_b.safetensors"), "w/").items()}
    vae = written(tmp_path / "vae.safetensors", small)
    whole = written(tmp_path / "x.safetensors", WHOLE)
    with pytest.raises(CheckpointError, match=r"8 channels, but those of .*vae\.safetensors have 4"):
        import_published(whole, vae)
    with pytest.raises(CheckpointError, match="contains no autoencoder"):
        import_published(whole, written(tmp_path / "dit.safetensors", TRANSFORMER))
    with pytest.raises(CheckpointError, match=r"vae\.safetensors does not fit: unknown encoder\.y"):
        import_published(whole, written(vae, small | {"autoencoder.encoder.y": torch.ones(1)}))
    twice = {f"diffusion.{key}": value for key, value in TRANSFORMER.items()} | {"model.model.extra": torch.ones(1)}
    with pytest.raises(CheckpointError, match=r"unknown model\.model\.extra"):
        import_published(written(tmp_path / "twice.safetensors", twice))
