from __future__ import annotations

import pytest
import torch
from torch import nn

from prismaudio.autoencoders.base import Autoencoder
from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.checkpoints import Configured
from prismaudio.errors import CheckpointError, PlanError
from prismaudio.plan import Plan
from prismaudio.planners.base import Annotator, Planner
from prismaudio.planners.file import FilePlanner
from prismaudio.planners.flash import FlashPlanner
from prismaudio.testing import NonconformingError, NotTriedError, check_autoencoder, check_planner
from prismaudio.testing.component import check_base_class, check_contract
from prismaudio.testing.examples import example_plan


@pytest.mark.parametrize("seed", range(3))
def test_the_planners_of_the_core_pass(seed, tmp_path):
    torch.manual_seed(seed)
    check_planner(FlashPlanner(), is_trained=False)
    example_plan().save(tmp_path / "plan.txt")
    check_planner(FilePlanner(str(tmp_path / "plan.txt")))


class Gong(Planner):
    """Writes a gong, a prompt and what is given."""

    def plan(self, clip, dimensions, given=None):
        if isinstance(given, str):
            given = Plan({"semantic": given})
        return Plan({**self.written(clip), **(given or {})})

    def written(self, clip):
        return {"semantic": "A gong rings once.", "temporal": f"The gong sounds at {clip.duration_s / 4:.2f} s."}


def bad_planner(method="plan", **attributes):
    def decorated(function):
        return type("Bad", (Gong,), {method: function, **attributes})()

    return decorated


def without_prompt(self, clip, dimensions, given=None):
    return Plan({**self.written(clip), **({} if isinstance(given, str) else given or {})})


def without_given(self, clip, dimensions, given=None):
    return Plan({**self.written(clip), **({"semantic": given} if isinstance(given, str) else {})})


def in_place(self, clip, dimensions, given=None):
    if clip.frames is not None:
        clip.frames.fill_(0)
    return Gong.plan(self, clip, dimensions, given)


def crashing_without_frames(self, clip, dimensions, given=None):
    clip.frames.float()
    return Gong.plan(self, clip, dimensions, given)


def swapped(self, clips, dimensions, given=None):
    return [self.plan(clip, dimensions) for clip in clips][::-1]


def random_texts(self, clip):
    return {"semantic": f"A gong rings {int(torch.randint(2, 10**6, (1,)))} times."}


class Remembering(Configured, Gong):
    """Its arguments are changed by what it makes of them."""

    def __init__(self, words: dict[str, int] | None = None) -> None:
        self.config["words"]["n"] = self.config["words"].get("n", 0) + 1


PLANNERS = {
    "must return a Plan, not the str": bad_planner()(lambda *_: "A gong rings."),
    "must return a Plan, not the dict": bad_planner()(lambda *_: {"semantic": "A gong rings."}),
    "it writes no section": bad_planner("written")(lambda *_: {}),
    "writes the section 'smell'; asked for are semantic": bad_planner("written")(lambda *_: {"smell": "Good."}),
    "the temporal section is empty": bad_planner("written")(lambda *_: {"semantic": "A gong.", "temporal": " "}),
    "it has bold or italic text": bad_planner("written")(lambda *_: {"semantic": "**A gong** rings."}),
    "but the clip lasts 6.00 s": bad_planner("written")(lambda *_: {"temporal": "The gong sounds at 7.00 s."}),
    "planning again, it writes": bad_planner("written")(random_texts),
    "must become the semantic section, not 'A gong rings once.'": bad_planner()(without_prompt),
    "the given semantic section 'A large gong rings with a long metallic tone.' must": bad_planner()(without_given),
    "modifies the clip in place": bad_planner()(in_place),
    "planning a clip without frames: AttributeError": bad_planner()(crashing_without_frames),
    "planning two clips together, it writes": bad_planner("plan_batch")(swapped),
    "planning: KeyError": bad_planner("written")(lambda *_: {}["semantic"]),
    "created again from its arguments": Remembering({"n": 1}),
}


@pytest.mark.parametrize("said", PLANNERS)
def test_what_is_wrong_with_a_planner_is_one_line(said):
    with pytest.raises(NonconformingError) as caught:
        check_planner(PLANNERS[said])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


class Sampling(Configured, Gong):
    """Writes another plan every time."""

    def __init__(self, temperature: float = 0.7) -> None: ...

    written = random_texts


def test_a_planner_that_samples_may_write_other_plans():
    check_planner(Sampling())
    with pytest.raises(NonconformingError, match="planning again"):
        check_planner(Sampling(0.0))


def test_a_planner_that_cannot_plan_the_example_is_not_tried():
    with pytest.raises(NotTriedError, match="pass a clip that it can plan: the clip is too short"):
        check_planner(bad_planner()(raising(PlanError("the clip is too short"))))
    with pytest.raises(CheckpointError, match=r"x\.pt is not here"):
        check_planner(bad_planner()(raising(CheckpointError("x.pt is not here"))))
    lines = bad_planner()(lambda self, clip, *rest: Gong.plan(self, clip, *rest) if clip.frames is not None else fail())
    with pytest.raises(NonconformingError, match="an error must be one line"):
        check_planner(lines)


def raising(error):
    def plan(*_):
        raise error

    return plan


def fail():
    raise PlanError("there are no frames\nto plan from")


class Noting(Annotator):
    """Notes what it hears."""

    def annotate_batch(self, clips, dimensions, captions=None):
        return []


def test_plugins_check_tries_planners_and_autoencoders():
    torch.manual_seed(1)  # the texts of this network are too long
    assert check_contract("planners", FlashPlanner()) == "fulfilled for one example"
    assert check_contract("planners", bad_planner()(lambda *_: "A gong.")).startswith("FAIL Bad: planning: it must")
    assert check_contract("planners", Noting()) == "not checked: it writes no plans by itself"
    assert check_base_class("planners", Noting) == "Annotator"
    assert check_contract("autoencoders", Halves()) == "fulfilled for one example"


class Halves(Configured, Autoencoder):
    """Pairs of samples, times a gain."""

    sample_rate_hz, hop = 8000, 2

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.channels = 4
        self.gain = nn.Parameter(torch.tensor(gain))

    def encode(self, audio):
        audio = nn.functional.pad(audio, (0, audio.shape[-1] % 2))
        return audio.unflatten(-1, (-1, 2)).transpose(2, 3).flatten(1, 2) * self.gain

    def decode(self, latents):
        return (latents / self.gain).unflatten(1, (2, 2)).transpose(2, 3).flatten(2)


def test_autoencoders_pass():
    check_autoencoder(Halves(2.0))
    check_autoencoder(Halves().train(), audio=torch.rand(2, 2, 40))
    check_autoencoder(
        OobleckAutoencoder(width=4, multipliers=(1, 2), strides=(4, 8), latent_channels=8, sample_rate_hz=16_000)
    )


class Forgetful(Halves):
    """Has a gain that is neither argument nor weight."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = float(torch.rand(1) + 1)

    def encode(self, audio):
        return super().encode(audio) * self.hidden


def bad_autoencoder(**attributes):
    return type("Bad", (Halves,), attributes)()


AUTOENCODERS = {
    "hop must be a number of at least 1, not 0": bad_autoencoder(hop=0),
    "encoding: the result must be torch.float32 (3, 4, 1000)": bad_autoencoder(
        encode=lambda self, audio: Halves.encode(self, audio).double()
    ),
    "decoding: the result must be torch.float32 (3, 2, 2000)": bad_autoencoder(
        decode=lambda self, latents: Halves.decode(self, latents)[:, :1]
    ),
    "encoding audio that ends within a frame": bad_autoencoder(
        encode=lambda self, audio: Halves.encode(self, audio[..., : audio.shape[-1] // 2 * 2])
    ),
    "encoding: the result must be finite": bad_autoencoder(
        encode=lambda self, audio: Halves.encode(self, audio / audio.abs().amax((1, 2), keepdim=True))
    ),
    "modifies its input in place": bad_autoencoder(encode=lambda self, audio: Halves.encode(self, audio.mul_(0.5))),
    "latents differ when encoded again": bad_autoencoder(
        encode=lambda self, audio: Halves.encode(self, audio) + torch.rand(1)
    ),
    "latents of a row differ from those of the row alone": bad_autoencoder(
        encode=lambda self, audio: Halves.encode(self, audio / audio.abs().mean())
    ),
    "audio of a row differs from that of the row alone": bad_autoencoder(
        decode=lambda self, latents: Halves.decode(self, latents - latents.mean(0) + 1)
    ),
    "from its arguments and weights, latents differ": Forgetful(),
}


@pytest.mark.parametrize("said", AUTOENCODERS)
def test_what_is_wrong_with_an_autoencoder_is_one_line(said):
    with pytest.raises(NonconformingError) as caught:
        check_autoencoder(AUTOENCODERS[said])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
