"""Probes of text encoders."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from prismaudio.cli.main import main
from prismaudio.data.manifest import ManifestEntry
from prismaudio.evaluation import probes
from prismaudio.evaluation.embeddings import EmbeddingFile, key_of, shuffled_weights
from prismaudio.evaluation.retrieval import words_of
from prismaudio.plan import Plan

NAMES = ("bell", "drum", "dog", "engine")


def entry(name, temporal, semantic="", **plan):
    return ManifestEntry(name, plans=(Plan({"semantic": semantic, "temporal": temporal, **plan}),))


def timed(number):
    """A clip in which two or three things sound at different times, in an order that the names do not tell."""
    names = [NAMES[(number + step * (1 + number % 3)) % 4] for step in range(2 + number % 2)]
    names = list(dict.fromkeys(names))
    times = [0.3 + 0.7 * at + 0.01 * (number % 5) for at in range(len(names) + 1)]
    text = " ".join(f"The {name} sounds at {time_s:.2f} s." for name, time_s in zip(names, times, strict=False))
    semantic = " ".join(f"A {name} is heard." for name in names)
    return entry(f"clip{number}", f"{text[:-1]} and {times[-1]:.2f} s.", semantic)


def test_an_ordering_question_has_a_twin_with_the_same_words():
    first, second = probes.ordering([entry("a", "The bell sounds at 0.50 s. The drum sounds at 1.00 s and 2.00 s.")])
    assert first.words == "The bell sounds at 0.50 s. The drum sounds at 1.00 s and 2.00 s."
    assert second.words == "The drum sounds at 0.50 s. The bell sounds at 1.00 s and 2.00 s."
    assert (first.answer, second.answer, first.guess, second.guess) == ("bell", "drum", "bell", "drum")
    assert first.candidates == second.candidates == ("bell", "drum")
    late = probes.ordering([entry("a", "The bell sounds at 2.50 s. The drum sounds at 1.00 s.")])
    assert [(question.answer, question.guess) for question in late] == [("drum", "bell"), ("bell", "drum")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The bell sounds at 0.50 s.",
        "The bell sounds at 0.50 s. The drum sounds at 0.55 s.",  # too near
        "The bell sounds first, then the drum.",  # no times
        "At 0.50 s the bell, at 1.00 s the drum, at 2.00 s the drum.",  # the drum is named twice
    ],
)
def test_what_gives_no_order_has_no_question(text):
    assert probes.ordering([entry("a", text, "A bell and a drum.")]) == []
    assert probes.ordering([ManifestEntry("a", captions=("A bell.",))]) == []


def test_a_chain_has_a_twin_for_each_rotation():
    text = "The bell sounds at 0.50 s. The drum sounds at 1.00 s. The dog sounds at 2.00 s."
    questions = probes.chains([entry("a", text)])
    assert [question.words for question in questions] == [
        text,
        "The dog sounds at 0.50 s. The bell sounds at 1.00 s. The drum sounds at 2.00 s.",
        "The drum sounds at 0.50 s. The dog sounds at 1.00 s. The bell sounds at 2.00 s.",
    ]
    assert [question.answer for question in questions] == ["dog", "drum", "bell"]
    assert len({tuple(sorted(question.words.split())) for question in questions}) == 1
    assert probes.chains([entry("a", "The bell sounds at 0.50 s. The drum sounds at 1.00 s.")]) == []  # no chain
    assert probes.chains([entry("a", "The bell sounds at 0.50 s, 1.00 s and 2.00 s.")]) == []  # one source


@pytest.mark.parametrize(
    ("text", "exchanged", "pair"),
    [
        ("A bell is struck and rings twice.", "A bell rings and is struck twice.", "is struck → rings"),
        ("A ball drops and bounces.", "A ball bounces and drops.", "drops → bounces"),
        ("A plate falls on the floor and shatters.", "A plate shatters and falls on the floor.", "falls → shatters"),
        ("A hammer hits a nail, causing a loud clang.", "A loud clang, causing a hammer hits a nail.", None),
        ("The dog barks because a car passes. Birds sing.", "A car passes because the dog barks. Birds sing.", None),
    ],
)
def test_a_cause_and_its_effect_are_exchanged(text, exchanged, pair):
    stated, other = probes.causal([entry("a", "", text)])
    assert (stated.words, stated.answer) == (text, probes.STATED)
    assert (other.words, other.answer) == (exchanged, probes.REVERSED)
    assert pair in (None, stated.group)
    assert Counter(words_of(stated.words)) == Counter(words_of(exchanged))


def test_no_cause_no_question():
    assert probes.causal([entry("a", "The bell sounds at 1 s.", "A bell rings and a dog barks.")]) == []


def questions(n=40):
    return probes.ordering([timed(number) for number in range(n)])


def by_order(asked):
    """Features that say which name comes first."""
    return torch.tensor([[float(question.guess == name) for name in NAMES] for question in asked])


def test_a_bag_of_words_is_right_by_chance():
    asked = questions()
    assert probes.probe(probes.word_counts(asked), asked).mean() == 0.5
    chain = probes.chains([timed(number) for number in range(40)])
    found = probes.by_clip(probes.probe(probes.word_counts(chain), chain), chain)
    expected = probes.by_clip(torch.tensor([1 / len(question.candidates) for question in chain]), chain)
    assert found == pytest.approx(expected)


def test_a_probe_reads_what_is_there_and_nothing_else():
    asked = questions()
    noise = torch.randn(len(asked), 8, generator=torch.Generator().manual_seed(0))
    assert probes.probe(torch.cat([by_order(asked), noise], 1), asked).mean() > 0.95
    assert abs(float(probes.probe(noise, asked).mean()) - 0.5) < 0.2
    random = probes.probe(by_order(asked), asked, random_labels=True)
    assert abs(float(random.mean()) - 0.5) < 0.2
    assert probes.probe(torch.ones(len(asked), 3), asked).mean() == 0.5


def test_a_probe_finds_a_small_part_of_the_features():
    asked = questions(60)
    generator = torch.Generator().manual_seed(0)
    counts, order = probes.word_counts(asked), by_order(asked)
    words = counts @ torch.randn(counts.shape[1], 64, generator=generator)
    assert probes.probe(words + 0.1 * order @ torch.randn(4, 64, generator=generator), asked).mean() > 0.85


def test_the_weights_are_the_minimum_of_the_loss():
    asked = questions(30)
    features = torch.randn(len(asked), 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    right = torch.tensor([NAMES.index(question.answer) for question in asked])
    possible = torch.tensor([[name in question.candidates for name in NAMES] for question in asked])
    model = probes._Logistic(features, right, possible, 0.01)
    scaled = (features - features.mean(0)) / features.std(0, correction=0) / 5**0.5
    weights, biases = model.weights.clone().requires_grad_(), model.biases.clone().requires_grad_()
    loss = 0.01 * weights.square().sum()
    for row, answer, mask in zip(scaled, right, possible, strict=True):
        odds = torch.exp(weights @ row + biases)
        loss = loss - torch.log(odds[answer] / odds[mask].sum()) / len(right)
    loss.backward()
    assert weights.grad.abs().max() < 1e-3
    assert biases.grad.abs().max() < 1e-3
    assert weights.abs().max() > 0.1


def test_clips_are_never_in_training_and_test():
    asked = questions(20)
    ids = {name: at for at, name in enumerate(dict.fromkeys(question.clip for question in asked))}
    by_id = torch.zeros(len(asked), 2 * len(ids))  # what a probe could only know of a clip that it has seen
    for row, question in zip(by_id, asked, strict=True):
        row[2 * ids[question.clip] + (question.answer == question.candidates[0])] = 1
    assert probes.probe(by_id, asked).mean() < 0.75


def test_the_order_of_mention():
    assert probes.guessed(questions()).mean() == 1.0
    assert probes.guessed(probes.causal([entry("a", "", "A ball drops and bounces.")])) is None


def test_too_few_clips():
    assert probes.enough(questions(4)) == "4 clips have plans that answer it; expected 10 or more"
    same = probes.causal([entry(str(number), "", "A ball drops and bounces.") for number in range(12)])
    assert "all questions are of one pair, drops → bounces" in probes.enough(same)
    assert probes.enough(questions(12)) == ""


def test_shuffled_weights_keep_values_and_buffers():
    network = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.BatchNorm1d(7))
    network[1].running_mean += 3
    before = {name: value.clone() for name, value in network.state_dict().items()}
    shuffled_weights(network)
    after = network.state_dict()
    assert not torch.equal(after["0.weight"], before["0.weight"])
    assert torch.equal(after["0.weight"].flatten().sort()[0], before["0.weight"].flatten().sort()[0])
    assert torch.equal(after["1.running_mean"], before["1.running_mean"])


def test_embeddings_are_kept_until_something_changes(tmp_path):
    path = tmp_path / "x.safetensors"
    file = EmbeddingFile(path, "encoder 1")
    file.add(key_of("a", 1), torch.ones(3))
    file.save()
    assert torch.equal(EmbeddingFile(path, "encoder 1")[key_of("a", 1)], torch.ones(3))
    assert key_of("a", 2) not in EmbeddingFile(path, "encoder 1")
    assert key_of("a", 1) not in EmbeddingFile(path, "encoder 2")


# The command ---------------------------------------------------------------------------------------------------------
ENCODERS = """
    import torch
    from prismaudio.checkpoints import Configured
    from prismaudio.encoders.base import Encoder

    WORDS = ("bell", "drum", "dog", "engine")

    class FirstWordEncoder(Configured, Encoder):
        rate_hz, dim = None, 4
        def __init__(self, scale: float = 1.0) -> None:
            self.scale = scale
        def encode(self, clip, plan):
            text = " ".join(plan.values()).lower()
            first = min((text.find(word), word) for word in WORDS if word in text)[1]
            return self.scale * torch.tensor([[float(word == first) for word in WORDS]])

    class NanEncoder(FirstWordEncoder):
        def encode(self, clip, plan):
            return super().encode(clip, plan) / 0 * 0

    class NetworkEncoder(Configured, torch.nn.Module, Encoder):
        rate_hz, dim = None, 3
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.arange(6.0).view(2, 3))
        def encode(self, clip, plan):
            return torch.tensor([[1.0, len(str(plan))]]) @ self.weight

    @hookimpl
    def prismaudio_encoders():
        return [Component(f"MODULE:{name}Encoder", "x") for name in ("FirstWord", "Nan", "Network")]
"""


def in_order(number):
    """A clip in which two things sound once, in either order."""
    first, second = (NAMES[(number + step) % 4] for step in ((0, 1) if number % 3 else (1, 0)))
    return entry(f"clip{number}", f"The {first} sounds at 0.50 s. The {second} sounds at 1.25 s.")


@pytest.fixture
def work(tmp_path, monkeypatch, install):
    """A manifest of plans without media."""
    install(ENCODERS)
    monkeypatch.chdir(tmp_path)
    write([in_order(number) for number in range(16)])
    return tmp_path


def write(entries):
    rows = [{"id": each.id, "video": f"{each.id}.mp4", "plan": str(each.plans[0])} for each in entries]
    Path("clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path(rows[0]["video"]).write_bytes(b"")  # the video of one clip, which is not read


def compare(*words):
    return main(["evaluate", "text-encoders", "--suite", "clips.jsonl", "--folds", "2", "-o", "out", *words])


def test_encoders_are_compared_with_controls(work, capsys):
    words = ("--encoder", "FirstWordEncoder", "--encoder", "NanEncoder", "--encoder", "net=NetworkEncoder")
    assert compare(*words) == 0
    said = capsys.readouterr()
    rows = {row["encoder"]: row for row in json.loads(Path("out/text_encoders.json").read_text())["rows"]}
    assert list(rows) == [
        *("bag of words", "FirstWordEncoder", "FirstWordEncoder, shuffled weights", "NanEncoder", "net"),
        *("net, shuffled weights", "order of mention", "chance"),
    ]
    first = rows["FirstWordEncoder"]["probes"]["ordering"]
    assert first["value"] > 0.75
    assert first["difference_low"] > 0
    assert 0.2 < first["random_labels"] < 0.8
    assert rows["bag of words"]["probes"]["ordering"]["value"] == 0.5
    assert rows["chance"]["probes"]["ordering"]["value"] == 0.5
    assert "NaN or infinity" in rows["NanEncoder"]["reason"]
    assert "– FirstWordEncoder, shuffled weights: it has no weights" in said.out
    assert "– multi-step: 0 clips have plans that answer it; expected 10 or more" in said.out
    assert "– causal: 0 clips have plans that answer it; expected 10 or more" in said.out
    assert "| FirstWordEncoder |" in Path("out/text_encoders.md").read_text(encoding="utf-8")
    assert compare("--encoder", "FirstWordEncoder", "--no-shuffled") == 0
    said = capsys.readouterr()
    assert "FirstWordEncoder: 0 embeddings computed" in said.err
    assert "shuffled weights:" not in said.out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "there is no encoder to evaluate"),
        (("--encoder", "FirstWordEncode"), "did you mean 'FirstWordEncoder'"),
        (("--encoder", "FirstWordEncoder", "--encoder.scal", "2"), "did you mean scale?"),
        (("--encoder", "BrightnessEncoder"), "encodes video; expected an encoder of text"),
        (("--encoder", "FirstWordEncoder", "--limit", "4"), "too few for a probe: ordering: 4 clips have plans"),
    ],
)
def test_bad_input_is_one_line(work, capsys, words, error):
    assert compare(*words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert error in line
    assert not Path("out").exists()


def test_a_suite_without_plans(work, capsys):
    Path("clips.jsonl").write_text('{"id": "clip0", "video": "clip0.mp4", "caption": "A dog."}\n')
    assert compare("--encoder", "FirstWordEncoder") == 2
    assert "no clip of the suite has a plan, from which the questions are made" in capsys.readouterr().err
