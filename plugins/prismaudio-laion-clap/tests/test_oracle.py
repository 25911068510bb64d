"""The published code, with random weights, says the same; run by ``nox -s oracles``."""

import pytest
import torch
from transformers import RobertaConfig, RobertaModel

from prismaudio_laion_clap.network import RATE_HZ
from prismaudio_laion_clap.published import load

NEAR = 2e-6
pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def oracle():
    """The package, which asks for three tokenizers when it is imported, and for RoBERTa later."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("BertTokenizer", "RobertaTokenizer", "BartTokenizer"):
            patch.setattr(f"transformers.{name}.from_pretrained", lambda *_: None)
        small = RobertaConfig(
            vocab_size=50_265, max_position_embeddings=514, type_vocab_size=1, num_hidden_layers=1, layer_norm_eps=1e-5
        )
        patch.setattr(RobertaModel, "from_pretrained", lambda *_: RobertaModel(small))
        yield pytest.importorskip("laion_clap", exc_type=ImportError)


def published(oracle, fusion, size):
    torch.manual_seed(3)
    theirs = oracle.CLAP_Module(enable_fusion=fusion, device="cpu", amodel=f"HTSAT-{size}").eval()
    for name, value in theirs.model.state_dict().items():
        if name.endswith(("running_var", "bn0.weight")):
            value.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bn0.bias", "norm.bias")):
            value.uniform_(-0.5, 0.5)
    return theirs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("fusion", "size"), [(True, "tiny"), (False, "base")])
def test_sounds_and_texts_have_the_published_directions(tmp_path, oracle, fusion, size):
    theirs = published(oracle, fusion, size)
    weights = {f"module.{key}": value for key, value in theirs.model.state_dict().items()}
    weights["module.text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    torch.save({"epoch": 3, "state_dict": weights}, tmp_path / "x.pt")
    ours = load(str(tmp_path / "x.pt"))
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(4, 50_265, (2, 77), generator=generator)
    real = torch.ones(2, 77, dtype=torch.bool)
    tokens[1, 30:], real[1, 30:] = 1, False
    with torch.no_grad():
        for seconds in (1.3, 9.0, 10.0):
            sound = 0.1 * torch.randn(2, round(seconds * RATE_HZ), generator=generator)
            expected = theirs.get_audio_embedding_from_data(sound, use_tensor=True)
            found = torch.nn.functional.normalize(ours.embed_audio(sound[:, None].expand(-1, 2, -1), RATE_HZ))
            torch.testing.assert_close(found, expected, atol=NEAR, rtol=0)
        expected = theirs.model.get_text_embedding({"input_ids": tokens, "attention_mask": real.long()})
        found = torch.nn.functional.normalize(ours.embed_tokens(tokens, real))
        torch.testing.assert_close(found, expected, atol=NEAR, rtol=0)
