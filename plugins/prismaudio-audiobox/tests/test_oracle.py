"""The package of the authors, without its front end (which needs torchaudio), gives the same numbers."""

import pytest
import torch
from safetensors.torch import save_file

from prismaudio.errors import CheckpointError
from prismaudio.metrics.target import Target
from prismaudio.plan.story import Story
from prismaudio_audiobox.metric import AudioboxAesthetics
from prismaudio_audiobox.network import AXES, AudioboxNetwork
from prismaudio_audiobox.official import OfficialRater
from prismaudio_audiobox.rating import Rater
from prismaudio_audiobox.reward import AudioboxReward
from prismaudio_audiobox.weights import fill_published


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")  # theirs
def test_same_weights_give_the_same_ratings_as_the_package_of_the_authors():
    theirs_module = pytest.importorskip("audiobox_aesthetics.model.aes")
    torch.manual_seed(0)
    theirs = theirs_module.AesMultiOutput(proj_num_layer=5, proj_ln=True).eval()
    with torch.no_grad():
        for weight in theirs.layer_weights.values():
            weight.copy_(torch.randn(13))
    with torch.device("meta"):
        ours = AudioboxNetwork()
    fill_published(ours, theirs.state_dict(), "the package")
    sound = 0.1 * torch.randn(2, 160_000)
    lengths = torch.tensor([160_000, 71_234])
    mask = torch.arange(160_000) < lengths[:, None]
    sound *= mask
    with torch.no_grad():
        expected = theirs({"wav": sound[:, None], "mask": mask[:, None]})
    expected = torch.cat([expected[axis][:, None] for axis in AXES], dim=-1)
    assert torch.allclose(ours(sound, lengths), expected, atol=2e-5)
    unscaled = Rater(network=ours, scales=dict.fromkeys(AXES, (0.0, 1.0)))
    assert torch.allclose(unscaled.rate(sound[:1, None].repeat(1, 2, 1), 16_000), expected[:1], atol=2e-5)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Random weights in both formats of the authors: ``checkpoint.pt`` and ``model.safetensors``."""
    theirs_module = pytest.importorskip("audiobox_aesthetics.model.aes")
    torch.manual_seed(1)
    theirs = theirs_module.AesMultiOutput(proj_num_layer=5, proj_ln=True).eval()
    folder = tmp_path_factory.mktemp("audiobox")
    weights = {key: value.contiguous() for key, value in theirs.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    settings = ("proj_num_layer", "proj_ln", "proj_act_fn", "proj_dropout", "nth_layer", "use_weighted_layer_sum")
    stated = {name: getattr(theirs, name) for name in (*settings, "normalize_embed", "output_dim")}
    content = {
        "state_dict": {f"model.{key}": value for key, value in weights.items()},
        "model_cfg": stated | {"precision": "32"},
        "target_transform": {axis: {"mean": 4.0, "std": 2.0} for axis in AXES},
    }
    torch.save(content, folder / "checkpoint.pt")
    return folder


def sounds(seconds, rate_hz):
    return 0.1 * torch.randn(1, 2, round(seconds * rate_hz), generator=torch.Generator().manual_seed(2))


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("name", ["checkpoint.pt", "model.safetensors"])
def test_the_official_implementation_gives_the_same_scores(published, name):
    made = {"native": AudioboxReward(str(published / name))}
    state = torch.random.get_rng_state()
    made["official"] = AudioboxReward(str(published / name), implementation="official")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert type(made["official"].rater.network).__module__ == "audiobox_aesthetics.model.aes"
    sound = sounds(13.2 if name == "checkpoint.pt" else 3, 44_100)
    ratings = [reward.rater.rate(sound, 44_100) for reward in made.values()]
    torch.testing.assert_close(*ratings, atol=2e-5, rtol=0)
    score = made["official"].score(sound, 44_100, [{}])
    torch.testing.assert_close(score, ratings[0] @ torch.tensor([1.0, 1, -1, 1]) / 40, atol=2e-6, rtol=0)
    if name == "checkpoint.pt":
        return
    metric = AudioboxAesthetics("CE", str(published / name), "bf16", implementation="official")
    metric.update(sound, 44_100, [Target.from_story(Story())])
    expected = ratings[0][0, 0].item()
    assert metric.compute().item() == pytest.approx(expected, abs=0.1)
    assert metric.compute().item() != pytest.approx(expected, abs=1e-6)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_the_official_implementation_is_what_the_authors_run(published):
    theirs = pytest.importorskip("audiobox_aesthetics.infer").AesPredictor(str(published / "checkpoint.pt"))
    theirs.model.cpu()
    theirs.device = torch.device("cpu")
    sound = torch.cat([sounds(12, 22_050), sounds(12, 22_050).flip(-1)])
    expected = theirs.forward([{"path": row, "sample_rate": 22_050} for row in sound])
    expected = torch.tensor([[row[axis] for axis in AXES] for row in expected])
    found = OfficialRater(str(published / "checkpoint.pt")).rate(sound, 22_050)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_the_official_implementation_runs_no_code_of_a_checkpoint(published, tmp_path):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    torch.save({"state_dict": {"model.x": torch.ones(1)}, "model_cfg": Harm()}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="pickled code, which is not executed"):
        AudioboxReward(str(tmp_path / "checkpoint.pt"), implementation="official")
    assert not (tmp_path / "harm").exists()
