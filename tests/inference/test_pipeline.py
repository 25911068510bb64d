from __future__ import annotations

import copy
import json
from functools import partial

import pytest
import torch

from prismaudio.audio.level import true_peak_db
from prismaudio.checkpoints import save_components
from prismaudio.encoders.base import Encoder
from prismaudio.encoders.brightness import BrightnessEncoder
from prismaudio.errors import CheckpointError, MediaError, PlanError, PrismAudioError, UnknownNameError
from prismaudio.inference import Guidance, PrismAudio, Settings, rendering, segments
from prismaudio.media import probe, read_audio_track, read_clip, reading, write_video
from prismaudio.plan import CORE, Plan
from prismaudio.samplers.heun import HeunSampler
from prismaudio.types import Clip, FrameSpec

BELL = Plan.parse(
    "<Semantic> A small bell rings. <Temporal> The bell sounds at 0.50 s. "
    "<Aesthetic> A clean recording. Dry acoustics. <Spatial> The bell is on the right (azimuth +30°)."
)


@pytest.fixture
def video(tmp_path):
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 255, (20, 3, 48, 48), generator=generator, dtype=torch.uint8)
    write_video(frames, 16, tmp_path / "clip.mp4", audio=torch.full((2, 20_000), 0.25), sample_rate_hz=16_000)
    return tmp_path / "clip.mp4"


def clip(duration_s: float, name: str = "a") -> Clip:
    generator = torch.Generator().manual_seed(len(name))
    frames = torch.randint(0, 255, (max(1, round(duration_s * 16)), 3, 48, 48), generator=generator, dtype=torch.uint8)
    return Clip(name, duration_s, frames, 16.0)


@pytest.mark.parametrize("duration_s", [0.2, 1.3, 4.0, 4.1, 9.0])
def test_any_length(model, duration_s):
    (audio,) = model.render([clip(duration_s)], [BELL], [0])
    assert audio.shape == (2, round(duration_s * 16_000))
    assert audio.dtype == torch.float32
    assert true_peak_db(audio, 16_000) <= -0.99


def test_a_sound_depends_on_its_seed_alone_and_not_on_its_batch(model):
    clips, plans = [clip(4.0), clip(5.0, "bb"), clip(2.0, "ccc")], [BELL, BELL.replace({"semantic": "x y z"}), BELL]
    together = model.render(clips, plans, [1, 2, 3])
    for row, audio in enumerate(together):
        (alone,) = model.render([clips[row]], [plans[row]], [row + 1])
        assert torch.allclose(alone, audio, atol=2e-3)
        (again,) = model.render([clips[row]], [plans[row]], [row + 1])
        assert torch.equal(alone, again)
    (other,) = model.render([clips[0]], [BELL], [7])
    assert not torch.allclose(other, together[0], atol=0.01)


def test_more_windows_than_fit_together_give_the_same(model):
    (whole,) = model.render([clip(9.0)], [BELL], [0])
    small = PrismAudio(
        model.transformer, model.autoencoder, model.encoders, model.planner, model.sampler, Settings(max_segments=2)
    )
    (pieces,) = small.render([clip(9.0)], [BELL], [0])
    assert torch.allclose(whole, pieces, atol=2e-3)


def test_a_long_clip_is_sampled_in_segments_and_sounds_the_same(model, monkeypatch):
    clips, plans = [clip(26.0), clip(2.0, "bb")], [BELL, BELL.replace({"semantic": "A drum."})]
    together, counted, whole_counted = [], [], []
    sample = type(model.sampler).sample

    def watched(self, velocity, noise, on_step=None):
        together.append(tuple(noise.shape))
        return sample(self, velocity, noise, on_step)

    whole = model.render(clips, plans, [1, 2], on_step=lambda *step: whole_counted.append(step))
    monkeypatch.setattr(type(model.sampler), "sample", watched)
    monkeypatch.setattr(segments, "CHUNK_SEGMENTS", 8)
    monkeypatch.setattr(rendering, "CHUNK_SEGMENTS", 8)
    monkeypatch.setattr(segments, "SHARED_SEGMENTS", 6)
    pieces = model.render(clips, plans, [1, 2], on_step=lambda *step: counted.append(step))
    assert len(together) > 1
    assert max(frames for _, _, frames in together) == 250 + 7 * 125  # eight windows, however long the clip is
    steps = whole_counted[-1][1]
    assert counted == [(i + 1, steps * len(together)) for i in range(steps * len(together))]
    for one, other in zip(whole, pieces, strict=True):
        assert torch.allclose(one, other, atol=2e-3)


def test_plan_seed_guidance_and_negative_plan_matter(model):
    def render(plan=BELL, **options):
        return model.render([clip(2.0)], [plan], [0], **options)[0]

    usual = render()
    assert not torch.allclose(usual, render(BELL.replace({"temporal": "The bell sounds at 1.50 s."})), atol=1e-3)
    assert not torch.allclose(usual, render(guidance=1.0), atol=1e-3)
    assert not torch.allclose(usual, render(negative_plans=[Plan({"aesthetic": "noisy"})]), atol=1e-3)
    assert torch.equal(usual, render(negative_plans=[None]))


def test_one_negative_plan_leaves_the_rest_of_the_batch_alone(model):
    clips = [clip(2.0), clip(2.0, "bb")]
    usual = model.render(clips, [BELL, BELL], [0, 1])
    mixed = model.render(clips, [BELL, BELL], [0, 1], negative_plans=[Plan({"semantic": "a loud drum"}), None])
    assert torch.allclose(usual[1], mixed[1], atol=2e-3)
    assert not torch.allclose(usual[0], mixed[0], atol=2e-3)


def test_generate_and_save(model, video, tmp_path):
    steps = []
    sound = model.generate(video, seed=3, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 2), (2, 2)]
    assert sound.duration_s == pytest.approx(1.25)
    assert list(sound.plan)[:4] == list(CORE)
    for name in ("new.mp4", "new.wav", "new.png"):
        sound.save(tmp_path / name)
    assert probe(tmp_path / "new.mp4").has_audio
    json.dumps(sound.describe())
    assert "<audio" in sound._repr_html_()
    assert "seed=3" in repr(sound)
    with pytest.raises(MediaError, match=r"expected .wav"):
        sound.save(tmp_path / "new.xyz")


def test_several_videos_give_a_list_in_their_order(model, video, tmp_path):
    longer = tmp_path / "longer.mp4"
    write_video(torch.randint(0, 255, (24, 3, 32, 32), dtype=torch.uint8), 16, longer)
    steps = []
    made = model.generate(
        [video, str(longer), video], seed=3, steps=2, batch_size=2, progress=lambda *step: steps.append(step)
    )
    assert [one.video for one in made] == [video, longer, video]
    assert len(steps) == 4  # two batches
    assert made[1].duration_s == pytest.approx(1.5)
    alone = model.generate(longer, seed=3, steps=2)
    assert torch.allclose(alone.audio, made[1].audio, atol=1e-5)
    assert model.generate([]) == []
    with pytest.raises(PrismAudioError, match="batch_size is 0"):
        model.generate([video], batch_size=0)


def test_a_video_is_decoded_once_for_the_planner_and_all_encoders(model, video, monkeypatch):
    encoders = {**model.encoders, "video": BrightnessEncoder(4, 8.0)}
    pipeline = PrismAudio(model.transformer, model.autoencoder, encoders, model.planner, model.sampler, model.settings)
    n_decoded, real = [], reading.timed_frames
    monkeypatch.setattr(reading, "timed_frames", lambda *args: n_decoded.append(1) or real(*args))
    request = pipeline.request(video)
    assert len(n_decoded) == 1
    assert torch.equal(request.clip.frames, read_clip(video, model.settings.frame_spec).frames)
    (seen,) = request.encoder_clips.values()
    assert torch.equal(seen.frames, read_clip(video, FrameSpec(8.0)).frames)


def test_progress_may_stop_it(model, video):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.generate(video, progress=stop)


def test_a_given_plan_is_used_word_for_word(model, video, tmp_path):
    BELL.save(tmp_path / "bell.txt")
    for plan in (BELL, str(BELL), tmp_path / "bell.txt", str(tmp_path / "bell.txt")):
        used = model.request(video, plan=plan).plan
        assert {name: used[name] for name in CORE} == dict(BELL)  # a plugin may add its default section


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<Semantic> A bell. <Temporal> The bell sounds at 7.50 s.", "7.50 s"),
        ("<Semantik> A bell.", "did you mean <Semantic>"),
        ("<Semantic> A bell. <Semantic> A drum.", "duplicate"),
        ("<Semantic A bell.", "malformed"),
        ("no-such-file.txt", "no-such-file.txt"),
    ],
)
def test_bad_plans(model, video, text, words):
    with pytest.raises(PlanError, match=words):
        model.generate(video, plan=text)


def test_sound_from_text(model, tmp_path):
    sound = model.generate(prompt="A small bell in a hall", duration_s=5.0)
    assert sound.audio.shape == (2, 80_000)
    assert dict(sound.plan) == {"semantic": "A small bell in a hall"}
    assert [warning.split()[4] for warning in sound.warnings] == ["temporal", "aesthetic", "spatial"]
    with pytest.raises(MediaError, match="without a video"):
        sound.save(tmp_path / "new.mp4")
    with pytest.raises(PlanError, match="nothing to plan from"):
        model.generate(duration_s=5.0)
    with pytest.raises(MediaError, match="duration"):
        model.generate(prompt="A bell")
    with pytest.raises(MediaError, match="out of range"):
        model.generate(prompt="A bell", duration_s=0.1)


def test_the_original_sound_can_be_mixed_in(model, video, tmp_path):
    sound = model.generate(video, plan=BELL, mix=0.5)
    assert sound.sample_rate_hz == 48_000
    assert true_peak_db(sound.audio, 48_000) <= -0.99
    model.generate(video, plan=BELL).save(tmp_path / "silent.wav")
    assert abs(float(sound.audio.mean()) - 0.125) < 0.06
    write_video(torch.zeros(16, 3, 48, 48, dtype=torch.uint8), 16, tmp_path / "mute.mp4")
    assert "no audio to mix with" in model.generate(tmp_path / "mute.mp4", plan=BELL, mix=1.0).warnings[-1]
    assert read_audio_track(tmp_path / "mute.mp4", 16_000) is None


def test_samplers_by_name(model, video):
    assert model.generate(video, sampler="heun", steps=1).settings["sampler"] == {"name": "HeunSampler", "steps": 1}
    assert model.generate(video, sampler=HeunSampler(1)).settings["sampler"]["name"] == "HeunSampler"
    assert model.generate(video, steps=1).settings["sampler"] == {"name": "EulerSampler", "steps": 1}
    with pytest.raises(UnknownNameError, match="EulerSampler"):
        model.generate(video, sampler="EulrSampler")
    with pytest.raises(PrismAudioError, match="out of range"):
        model.generate(video, steps=0)


def test_guidance_is_a_scale_or_all_of_it() -> None:
    settings = Settings(guidance=2.0, rescale=0.5, guidance_interval=[0.3, 1.0])
    assert settings.guided(None) == Guidance(2.0, 0.5, (0.3, 1.0))
    assert settings.guided(4.0) == Guidance(4.0, 0.5, (0.3, 1.0))
    assert settings.guided(Guidance(1.5)) == Guidance(1.5, 0.0, (0.0, 1.0))


def test_outside_the_interval_guidance_changes_nothing(model) -> None:
    render = partial(model.render, [clip(1.0)], [BELL], [7])
    never = render(guidance=Guidance(5.0, interval=(2.0, 3.0)))[0]
    assert torch.allclose(never, render(guidance=1.0)[0], atol=1e-4)
    assert not torch.allclose(never, render(guidance=Guidance(5.0, interval=(0.5, 1.0)))[0], atol=1e-3)


def test_saved_models_come_back(model, tmp_path, video):
    model.save_pretrained(tmp_path / "model")
    again = PrismAudio.from_pretrained(tmp_path / "model")
    assert again.settings.guidance == model.settings.guidance
    assert again.settings.segment_s == model.settings.segment_s
    assert again.sampler.config == model.sampler.config
    assert again.name.startswith(f"{tmp_path / 'model'}@")
    assert torch.equal(again.generate(video).audio, model.generate(video).audio)


def test_models_that_are_not_there(tmp_path, model):
    for source in (tmp_path, tmp_path / "none", "./nothing", "just-a-name"):
        with pytest.raises(CheckpointError):
            PrismAudio.from_pretrained(source)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["components"]["transformer"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="lacks transformer"):
        PrismAudio.from_pretrained(tmp_path)


def test_devices_and_precision(model):
    for device in ("nonsense", "cuda:99"):
        with pytest.raises(PrismAudioError, match="is not available"):
            model.to(device)
    with pytest.raises(PrismAudioError, match="precision"):
        model.to("cpu", "int3")
    full = model.render([clip(2.0)], [BELL], [0])[0]
    half = copy.deepcopy(model).to("cpu", "bf16").render([clip(2.0)], [BELL], [0])[0]
    assert half.dtype == torch.float32
    assert 0 < (half - full).square().mean() < 0.2 * full.square().mean()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_sound_that_is_no_numbers_is_an_error_and_not_silence(model, monkeypatch, value):
    with monkeypatch.context() as changed:
        changed.setattr(type(model.autoencoder), "decode", lambda self, x: torch.full((1, 2, 64_000), value))
        with pytest.raises(PrismAudioError, match="the audio contains NaN or infinity"):
            model.render([clip(1.0)], [BELL], [0])
    diverged = copy.deepcopy(model)
    diverged.transformer.project_in.weight[0, 0] = value
    with pytest.raises(PrismAudioError, match="the model generated NaN or infinity"):
        diverged.render([clip(1.0)], [BELL], [0])


def test_a_diverged_model_is_neither_loaded_nor_exported(model, tmp_path):
    diverged = copy.deepcopy(model)
    diverged.transformer.project_in.weight[0, 0] = torch.nan
    with pytest.raises(CheckpointError, match=r"transformer is not written to .* in project_in\.weight"):
        save_components(tmp_path / "model", diverged.parts())
    assert not (tmp_path / "model").exists()
    diverged.save_pretrained(tmp_path / "model")  # to be looked at
    with pytest.raises(CheckpointError, match=r"model: transformer: NaN or infinity in project_in\.weight"):
        PrismAudio.from_pretrained(tmp_path / "model")


SMELL = {"class": "prismaudio.models.conditioners:FeatureConditioner", "arguments": {"dim": 4, "token_dim": 64}}


def test_parts_that_are_not_made_for_each_other_are_refused(model, tmp_path):
    for part, argument, value, words in (
        (
            "video_encoder",
            "columns",
            3,
            "the video_encoder computes video features of dim 3, but the transformer expects 4",
        ),
        ("sampler", "steps", 10**9, "config.json: components.sampler: cannot create a EulerSampler"),
        ("settings", "max_segments", 0, "max_segments is 0; expected 1 to 4096"),
        ("settings", "guidance_interval", [0.1], "expected the lowest"),
        ("transformer", "streams", {"a smell": SMELL}, "'a smell' cannot be a stream; expected one lower-case word"),
        (
            "transformer",
            "streams",
            {"smell": {"class": "os:system", "arguments": {}}},
            "transformer.arguments.streams.smell.class is 'os:system', which no installed plugin provides",
        ),
        (
            "transformer",
            "streams",
            {"smell": {**SMELL, "arguments": {"dim": "4"}}},
            "streams.smell.arguments.dim is '4'; expected int",
        ),
    ):
        model.save_pretrained(tmp_path / part)
        config = json.loads((tmp_path / part / "config.json").read_text())
        config["components"][part]["arguments"][argument] = value
        (tmp_path / part / "config.json").write_text(json.dumps(config))
        with pytest.raises(CheckpointError) as caught:
            PrismAudio.from_pretrained(tmp_path / part)
        assert words in str(caught.value)


class AnyTextEncoder(Encoder):
    """Stands for a language model: it understands any text."""

    dim, rate_hz = 16, None

    def encode(self, clip: Clip, plan: Plan) -> torch.Tensor:
        return torch.zeros(1, self.dim)


@pytest.mark.parametrize("prompt", ["Eine Glocke läutet", "铃响了"])
def test_a_text_that_is_not_understood_is_named_unless_the_model_understands_any(model, prompt):
    said = model.request(prompt=prompt, duration_s=1.0).warnings[0]
    assert said.startswith(f"no known sound is mentioned in '{prompt}'")
    assert said.endswith("its vocabulary: bell, drum, engine, click")
    plan = Plan({"semantic": prompt, "temporal": "The bell sounds at 0.5 s."})
    assert (
        model.request(plan=plan, duration_s=1.0)
        .warnings[0]
        .startswith(f"not understood: '{prompt}'; the model's vocabulary: ")
    )
    plain = model.request(prompt="a bell rings", negative_prompt=prompt, duration_s=1.0)
    assert [warning for warning in plain.warnings if "vocabulary" in warning] == [f"negative prompt: {said}"]
    encoders = {**model.encoders, "text": AnyTextEncoder()}
    other = PrismAudio(model.transformer, model.autoencoder, encoders, model.planner)
    assert "understood" not in str(other.request(prompt=prompt, duration_s=1.0).warnings)
