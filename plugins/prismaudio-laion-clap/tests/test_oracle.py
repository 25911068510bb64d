"""The published code, with random weights, says the same; run by ``nox -s oracles``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from parity import published_shapes
from transformers import RobertaConfig, RobertaModel

from prismaudio.errors import CheckpointError
from prismaudio.metrics.target import Target
from prismaudio.plan import Plan
from prismaudio.types import Clip
from prismaudio_laion_clap.metric import ClapScore
from prismaudio_laion_clap.network import RATE_HZ
from prismaudio_laion_clap.official import POSITIONS, OfficialClap
from prismaudio_laion_clap.published import load
from prismaudio_laion_clap.reward import LaionClapReward

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


def saved(theirs, folder):
    weights = {f"module.{key}": value for key, value in theirs.model.state_dict().items()}
    weights["module.text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    torch.save({"epoch": 3, "state_dict": weights}, folder / "x.pt")
    return str(folder / "x.pt")


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
    ours = load(saved(theirs, tmp_path))
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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("fusion", "size"), [(True, "tiny"), (False, "base")])
def test_the_official_implementation_gives_the_same_scores(tmp_path, oracle, tokenizer, fusion, size):
    path = saved(published(oracle, fusion, size), tmp_path)
    state = torch.random.get_rng_state()
    official, native = (LaionClapReward(path, tokenizer, implementation=kind) for kind in ("official", "native"))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert isinstance(official.space, OfficialClap)
    plan = Plan({"semantic": "A dog barks in the yard. " * 9})
    sounds = [
        0.1 * torch.randn(1, 2, round(seconds * 44_100), generator=torch.Generator().manual_seed(4))
        for seconds in (2, 12)
    ]
    for sound in sounds:
        scores = [some.score(sound, 44_100, [some.prepare(None, plan)]) for some in (official, native)]
        torch.testing.assert_close(*scores, atol=NEAR, rtol=0)
    metrics = [ClapScore(path, tokenizer, implementation=kind) for kind in ("official", "native")]
    for metric in metrics:
        metric.update(sounds[0], 44_100, [Target.of(Clip("x", 2.0), plan)])
    torch.testing.assert_close(*(metric.compute() for metric in metrics), atol=NEAR, rtol=0)


SCRIPT = """
import sys
import torch
from prismaudio_laion_clap.official import OfficialClap
space = OfficialClap(sys.argv[1])
print(*space.embed_audio(torch.ones(1, 2, 480), 48_000).shape, space.clap.tokenize)
"""


@pytest.mark.filterwarnings("ignore")
def test_the_official_implementation_asks_no_hub(tmp_path, oracle):
    path = saved(published(oracle, fusion=False, size="tiny"), tmp_path)
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", SCRIPT, path]
    done = subprocess.run(command, env=os.environ | nowhere, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout == "1 512 None\n", done.stderr


@pytest.mark.filterwarnings("ignore")
def test_the_official_implementation_runs_no_code_and_reads_one_format(tmp_path, oracle):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    torch.save({"state_dict": {"module.x": torch.ones(1)}, "args": Harm()}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="pickled code, which is not executed"):
        OfficialClap(str(tmp_path / "x.pt"))
    assert not (tmp_path / "harm").exists()
    torch.save({"audio_model.audio_encoder.norm.weight": torch.ones(1)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"is not in the format of LAION, .*or use implementation native"):
        OfficialClap(str(tmp_path / "x.pt"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "size"), [("630k_fusion_HTSAT-tiny", "tiny"), ("HTSAT-base_nofusion", "base")])
def test_the_official_network_has_the_names_and_shapes_of_the_published_files(oracle, name, size):
    shapes = published_shapes(Path(__file__).with_name("data") / f"laion_clap_{name}.json.gz")
    network = published(oracle, size == "tiny", size).model
    found = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    in_text = "text_branch.encoder.layer."
    expected = {key: shape for key, shape in shapes.items() if not key.startswith(in_text) or f"{in_text}0." in key}
    assert found == {key: tuple(shape) for key, shape in expected.items() if key != POSITIONS}
