import math
import warnings

import pytest
import torch
from safetensors.torch import save_file

from prismaudio.errors import CheckpointError, NotApplicableError, PrismAudioError
from prismaudio.metrics.target import Target
from prismaudio.plan import Plan
from prismaudio.planners.prompts import SectionPrompt
from prismaudio.testing import check_gate, check_metric, check_reward
from prismaudio.testing.examples import example_audio
from prismaudio.types import Clip
from prismaudio_speechfree import prismaudio_dimensions
from prismaudio_speechfree.gate import SpeechClaimGate
from prismaudio_speechfree.metric import SpeechFreeShare
from prismaudio_speechfree.network import FRAME, SpeechDetector, load_detector
from prismaudio_speechfree.plan import ALWAYS, spoken_s, spoken_words
from prismaudio_speechfree.reward import SpeechFreeReward

RATE_HZ = 16_000
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
NOBODY = Plan({"speechfree": "Nobody speaks."})


def voice(seconds=2.0, pitch_hz=110):
    """Syllables (2, samples) of a synthetic voice: pulses of a wandering pitch through the formants of vowels."""
    times_s = torch.arange(round(seconds * RATE_HZ)) / RATE_HZ
    pitch = pitch_hz * (
        1 + 0.15 * torch.sin(2 * math.pi * 2.3 * times_s) + 0.05 * torch.sin(2 * math.pi * 5.1 * times_s)
    )
    turns = torch.cumsum(pitch / RATE_HZ, 0)
    pulses = torch.cat([torch.zeros(1), (turns[1:] % 1 < turns[:-1] % 1).float()])
    syllables = []
    for index, part in enumerate(pulses.split(RATE_HZ // 6)):
        spectrum = torch.fft.rfft(part, 2 * RATE_HZ)
        turn = torch.exp(-2j * math.pi * torch.fft.rfftfreq(2 * RATE_HZ))
        for formant_hz, width_hz in zip(VOWELS[2 * index % 5], (80, 100, 140), strict=True):
            radius = math.exp(-math.pi * width_hz / RATE_HZ)
            a, b = 2 * radius * math.cos(2 * math.pi * formant_hz / RATE_HZ), -(radius**2)
            spectrum = spectrum * (1 - a - b) / (1 - a * turn - b * turn**2)
        syllables.append(torch.fft.irfft(spectrum)[: len(part)] * torch.hann_window(len(part)).sqrt())
    sound = torch.cat(syllables)
    return (0.3 * sound / sound.abs().max()).repeat(2, 1)


def test_it_detects_what_the_published_detector_detects():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        silero_vad = pytest.importorskip("silero_vad")
        published = silero_vad.load_silero_vad()
        for sound in (voice(), example_audio(2.0)[0]):
            mono = sound.mean(0)
            published.reset_states()
            told = [published(frame, RATE_HZ).item() for frame in mono.split(FRAME) if len(frame) == FRAME]
            found = load_detector().speech_probability(sound[None], RATE_HZ)[0, : len(told)]
            assert found.tolist() == pytest.approx(told, abs=1e-4)


def test_the_reward_and_the_metric_keep_their_contracts():
    check_reward(SpeechFreeReward())
    check_reward(SpeechFreeReward(), plan=Plan({"speechfree": "A man speaks from 0.5 s to 1.0 s."}))
    check_metric(SpeechFreeShare())


@pytest.mark.parametrize("pitch_hz", [110, 140])
def test_a_voice_is_detected_and_other_sounds_are_not(pitch_hz):
    reward = SpeechFreeReward()
    cache = reward.prepare(None, NOBODY)
    sounds = torch.stack([voice(2.0, pitch_hz), *example_audio(2.0)])
    scores = reward.score(sounds, RATE_HZ, [cache] * 4)
    assert scores[0] < 0.3
    assert (scores[1:] > 0.9).all()


def test_a_short_phrase_counts_wherever_it_is():
    reward = SpeechFreeReward()
    sounds = torch.zeros(2, 2, 8 * RATE_HZ)
    sounds[0, :, : 2 * RATE_HZ] = sounds[1, :, -2 * RATE_HZ :] = voice()
    early, late = reward.score(sounds, RATE_HZ, [reward.prepare(None, NOBODY)] * 2)
    assert max(early, late) < 0.3


def test_speech_that_is_planned_does_not_count():
    reward = SpeechFreeReward()
    sound = torch.nn.functional.pad(voice(), (RATE_HZ, RATE_HZ))[None]
    plans = [NOBODY, Plan({"speechfree": "She speaks from 1.0 s to 3.0 s."}), Plan({"speechfree": "from 3 s to 4 s"})]
    scores = reward.score(sound.expand(3, -1, -1), RATE_HZ, [reward.prepare(None, plan) for plan in plans])
    assert (scores > 0.5).tolist() == [False, True, False]
    metric = SpeechFreeShare()
    metric.update(sound.expand(2, -1, -1), RATE_HZ, [Target.of(Clip("a", 4.0), plan) for plan in plans[:2]])
    assert metric.compute() == 0.5


@pytest.mark.parametrize(
    ("sections", "spans"),
    [
        ({}, []),
        ({"semantic": "A bell rings.", "temporal": "It rings from 1.0 s to 2.0 s."}, []),
        ({"semantic": "A man talks beside a bell."}, [ALWAYS]),
        ({"semantic": "A man talks to a friend.", "aesthetic": "The sound never distorts."}, [ALWAYS]),
        ({"semantic": "No music, a man speaks."}, [ALWAYS]),
        ({"semantic": "A bird sings in a tree, the wind whispers softly, and the singing of birds goes on."}, []),
        ({"semantic": "A bird sings and a woman sings."}, [ALWAYS]),
        ({"semantic": "There is no music, speech or noise."}, []),
        ({"semantic": "A bell rings, without music, noise, or speech."}, []),
        ({"semantic": "No sound except a bell."}, []),
        ({"semantic": "A man talks.", "speechfree": "No human speech."}, []),
        ({"speechfree": "Two voices, from 0.5 s to 1 s and from 2.25 s to 3 s."}, [(0.5, 1.0), (2.25, 3.0)]),
        ({"speechfree": "A man speaks from 1.0 s to 2.5 s without other voices."}, [(1.0, 2.5)]),
        ({"speechfree": "From 1.0 s to 2.5 s, a man speaks. There are no other voices."}, [(1.0, 2.5)]),
        ({"speechfree": "A man speaks. He does so from 1 s to 2 s and never again."}, [(1.0, 2.0)]),
        ({"speechfree": "Nobody speaks, except a man from 1.0 s to 2.5 s."}, [(1.0, 2.5)]),
        ({"speechfree": "Nobody speaks from 0 s to 1 s, then a man talks from 1 s to 2 s."}, [(1.0, 2.0)]),
        ({"speechfree": "Nobody speaks from 0 s to 1 s."}, []),
        ({"speechfree": "The bell rings from 1 s to 2 s. There isn't anybody speaking."}, []),
        ({"speechfree": "Voices are never heard."}, []),
        ({"speechfree": "The man never speaks."}, []),
        ({"speechfree": "Speech-free."}, []),
        ({"speechfree": "None."}, []),
    ],
)
def test_when_a_plan_has_somebody_speaking(sections, spans):
    assert spoken_s(Plan(sections)) == spans


@pytest.mark.parametrize(
    ("sections", "found"),
    [
        ({"semantic": "A dog barks, and a man talks."}, ("semantic", "talks")),
        ({"semantic": "A dog barks.", "temporal": "A narrator speaks from 1 s to 2 s."}, ("temporal", "narrator")),
        ({"semantic": "A woman is speaking.", "speechfree": "Nobody speaks."}, ("semantic", "speaking")),
        ({"speechfree": "Nobody speaks, except a man who talks."}, ("speechfree", "talks")),
        ({"semantic": "Two people have a conversation without music."}, ("semantic", "conversation")),
        ({"semantic": "There is no speech, and nobody talks."}, None),
        ({"semantic": "A crowd cheers, a choir sings, a child shouts, birds chatter."}, None),
        ({"semantic": "A loudspeaker hums. The voice of the bell is bright."}, None),
        ({}, None),
    ],
)
def test_the_words_that_claim_speech(sections, found):
    assert spoken_words(Plan(sections)) == found


def test_speech_that_is_planned_must_be_heard():
    check_gate(SpeechClaimGate())
    talks, barks = Plan({"semantic": "A man talks."}), Plan({"semantic": "A dog barks."})
    spoken = torch.nn.functional.pad(voice(), (RATE_HZ, RATE_HZ))
    sounds = {"voice": spoken, "gong": example_audio(4.0)[0], "silence": torch.zeros(2, 4 * RATE_HZ)}
    clips = {name: Clip(name, 4.0, audio=audio, sample_rate_hz=RATE_HZ) for name, audio in sounds.items()}
    assert [SpeechClaimGate().check(clip, barks) for clip in clips.values()] == [None] * 3
    assert SpeechClaimGate().check(clips["voice"], talks) is None
    for name in ("gong", "silence"):
        reason = SpeechClaimGate().check(clips[name], talks)
        assert reason.startswith(
            "the semantic section has speech ('talks'), but the probability of speech is at most 0"
        )
        assert reason.endswith("less than 0.20")
    assert SpeechClaimGate(threshold=0.0).check(clips["gong"], talks) is None
    short = Clip("short", 0.02, audio=spoken[:, :320], sample_rate_hz=RATE_HZ)
    assert "the probability of speech is at most" in SpeechClaimGate().check(short, talks)


def test_the_gate_does_not_apply_without_audio_or_weights(tmp_path):
    talks = Plan({"semantic": "A man talks."})
    clip = Clip("a", 1.0, audio=torch.zeros(2, RATE_HZ), sample_rate_hz=RATE_HZ)
    with pytest.raises(NotApplicableError, match="the clip has no audio"):
        SpeechClaimGate().check(Clip("a", 1.0), talks)
    gate = SpeechClaimGate(str(tmp_path / "lost.safetensors"))
    with pytest.raises(NotApplicableError, match="silero-vad"):
        gate.check(clip, talks)
    assert gate.check(clip, Plan({"semantic": "A dog barks."})) is None
    with pytest.raises(PrismAudioError, match="more than 0 seconds"):
        SpeechClaimGate(window_s=0)


def test_a_language_model_is_shown_sections_that_are_understood():
    (dimension,) = prismaudio_dimensions()
    spoken = [spoken_s(Plan({"speechfree": example})) for example in SectionPrompt.of(dimension).examples]
    assert spoken == [[], [(1.0, 2.5)]]


def test_clips_that_cannot_be_scored_and_errors_are_one_line(tmp_path):
    with pytest.raises(NotApplicableError, match="speech without start and end times"):
        SpeechFreeReward().prepare(None, Plan({"speechfree": "Somebody speaks."}))
    with pytest.raises(CheckpointError, match=r"MIT.* run pip install --no-deps silero-vad"):
        SpeechFreeReward(str(tmp_path / "lost.safetensors"))
    (tmp_path / "bad.onnx").write_bytes(b"no onnx")
    with pytest.raises(CheckpointError, match="is not an ONNX file"):
        SpeechFreeReward(str(tmp_path / "bad.onnx"))
    save_file({"conv1.weight": torch.ones(3)}, tmp_path / "bad.safetensors")
    with pytest.raises(CheckpointError, match="does not fit SpeechDetector"):
        SpeechFreeReward(str(tmp_path / "bad.safetensors"))
    with pytest.raises(PrismAudioError, match="more than 0 seconds"):
        SpeechFreeReward(window_s=0)
    assert SpeechFreeReward(network=SpeechDetector()).network is not load_detector()
