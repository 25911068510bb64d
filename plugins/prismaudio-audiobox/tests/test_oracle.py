"""The package of the authors, without its front end (which needs torchaudio), gives the same numbers."""

import pytest
import torch

from prismaudio_audiobox.network import AXES, AudioboxNetwork
from prismaudio_audiobox.rating import Rater
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
