from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from streams import streams

from prismaudio.checkpoints import load_components, save_components
from prismaudio.cli.main import main
from prismaudio.errors import CheckpointError
from prismaudio.inference import PrismAudio
from prismaudio.inference.settings import Settings
from prismaudio.media import read_clips, write_video, write_video_with_audio
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.plan import Plan
from prismaudio.samplers.euler import EulerSampler
from prismaudio.testing import check_encoder
from prismaudio.types import FrameSpec
from prismaudio_studio.autoencoder import ParametricStereoAutoencoder
from prismaudio_synchformer.encoder import SynchformerEncoder
from prismaudio_synchformer.reward import SynchformerReward

PLAN = Plan({})
LISTED = {"prismaudio_synchformer.encoder:SynchformerEncoder": "encoders"}


@pytest.fixture(scope="module")
def encoder(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "visual.pth"
    torch.save({f"vfeat_extractor.{key}": v for key, v in network.vfeat_extractor.state_dict().items()}, path)
    return SynchformerEncoder(str(path), 24, 1, 2)


def test_nine_seconds_have_216_features_which_begin_like_those_of_the_reward(encoder, network, clip):
    features = encoder.encode(clip, PLAN)
    assert features.shape == (216, encoder.dim)
    torch.testing.assert_close(features, SynchformerReward(network=network).prepare(clip, PLAN)["seen"].flatten(0, 1))


def test_it_keeps_the_contract(encoder):
    check_encoder(encoder, steps_off=16)  # what begins in the last third of a second fills no segment


@pytest.mark.parametrize(("n_frames", "fps", "expected"), [(3, 25.0, 8), (16, 25.0, 8), (24, 25.0, 16), (64, 16.0, 88)])
def test_clips_of_any_length_and_rate(encoder, clip, n_frames, fps, expected):
    short = replace(clip, frames=clip.frames[:n_frames], fps=fps, duration_s=n_frames / fps)
    assert encoder.encode(short, PLAN).shape == (expected, 24)


def test_a_short_clip_repeats_its_last_frame(encoder, clip):
    short = replace(clip, frames=clip.frames[:3])
    held = replace(clip, frames=torch.cat([clip.frames[:3], clip.frames[2:3].expand(13, -1, -1, -1)]))
    torch.testing.assert_close(encoder.encode(short, PLAN), encoder.encode(held, PLAN))


def test_without_frames_there_are_no_features(encoder, clip):
    assert encoder.encode(replace(clip, frames=None, fps=None), PLAN).shape == (0, 24)


def test_batches_do_not_change_the_features(encoder, clip):
    lengths = [24, 3, 24, 40]
    clips = [replace(clip, frames=clip.frames[n : 2 * n], duration_s=n / 25) for n in lengths]
    clips.insert(1, replace(clip, frames=None, fps=None))
    together = encoder.encode_batch(clips, [PLAN] * len(clips))
    for one, features in zip(clips, together, strict=True):
        torch.testing.assert_close(features, encoder.encode(one, PLAN), atol=1e-5, rtol=1e-5)


def test_a_model_folder_holds_its_weights(encoder, clip, tmp_path):
    save_components(tmp_path, {"sync_encoder": encoder})
    loaded = load_components(tmp_path, LISTED)["sync_encoder"]
    assert torch.equal(loaded.encode(clip, PLAN), encoder.encode(clip, PLAN))
    with pytest.raises(CheckpointError, match="no installed plugin provides"):
        load_components(tmp_path, {})


def test_random_weights_are_saved_with_a_model_too(clip, tmp_path):
    save_components(tmp_path, {"sync_encoder": SynchformerEncoder("random", 24, 1, 2)})
    loaded = load_components(tmp_path, LISTED)["sync_encoder"]
    assert loaded.encode(clip, PLAN).isfinite().all()


def test_missing_weights_are_reported(clip):
    with pytest.raises(CheckpointError, match="has no weights yet"):
        SynchformerEncoder("", 24, 1, 2).encode(clip, PLAN)


@pytest.fixture
def model_folder(encoder, tmp_path):
    torch.manual_seed(0)
    autoencoder = ParametricStereoAutoencoder(components=8, level_bands=2, iterations=2)
    autoencoder.observe(0.1 * torch.randn(2, 2, 16_000))
    autoencoder.fit()
    transformer = DiffusionTransformer(autoencoder.channels, dim=32, depth=1, num_heads=1, streams=streams(32, sync=24))
    model = PrismAudio(transformer.eval(), autoencoder.eval(), {"sync": encoder}, None, EulerSampler(2))
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_extract_and_generate_use_it(model_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = torch.randint(0, 255, (32, 3, 48, 64), dtype=torch.uint8)
    write_video(frames, 16.0, tmp_path / "mute.mp4")
    write_video_with_audio(tmp_path / "mute.mp4", 0.1 * torch.randn(2, 32_000), 16_000, tmp_path / "a.mp4")
    (tmp_path / "clips.csv").write_text("video\na.mp4\n")
    assert main(["extract", "clips.csv", "-o", "features", "--model", str(model_folder)]) == 0
    assert load_file("features/shard-00000.safetensors")["a/sync"].shape == (8 * ((50 - 16) // 8 + 1), 24)
    plan = "<Semantic> A bell. <Temporal> It rings at 1.00 s. <Aesthetic> Clean. <Spatial> On the left."
    sound = PrismAudio.from_pretrained(model_folder).generate("a.mp4", plan=plan)
    assert sound.audio.shape == (2, 32_000)
    assert sound.audio.isfinite().all()


def test_wide_videos_are_not_squashed(encoder, tmp_path):
    frames = torch.zeros(20, 3, 60, 120, dtype=torch.uint8)
    frames[..., :20] = 255
    write_video(frames, 25.0, tmp_path / "wide.mp4")
    seen = read_clips(tmp_path / "wide.mp4", [FrameSpec(16.0, 48), encoder.frame_spec])[encoder.frame_spec]
    assert (seen.fps, tuple(seen.frames.shape)) == (25.0, (20, 3, 60, 120))
    settings = Settings(None, 25.0, 30, keep_aspect_ratio=True)
    model = PrismAudio(None, None, {}, None, EulerSampler(2), settings)
    assert model.read(tmp_path / "wide.mp4").frames.shape == (20, 3, 30, 60)
