"""The reward benchmark: what scoring costs, phase by phase, beside the loop over files that published code is."""

from __future__ import annotations

import inspect
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import torch
from torch import Tensor, nn

from prismaudio import __version__
from prismaudio.benchmarks.report import Report
from prismaudio.errors import NotApplicableError
from prismaudio.media.reading import read_audio_track, read_clip
from prismaudio.media.writing import write_video, write_wav
from prismaudio.rewards.preparing import prepare
from prismaudio.types import FrameSpec

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.rewards.base import Cache, Reward
    from prismaudio.types import Clip

COLUMNS = (
    *("prepare_s", "kept_s", "one_s", "group_each_s", "ours_s", "loop_s", "faster"),
    *("bf16_each_s", "bf16_moves"),
)
RATE_HZ = 44_100
ALL = "all"
Step = Callable[[str], None]


@dataclass
class RewardCosts:
    """What is timed for each reward, on one clip and a group of candidate sounds for it.

    In seconds, on a CPU those of all its cores together, so that other programs do not count: ``prepare`` of the clip,
    then ``kept``, the same from disk; ``one`` score, and ``group_each`` in a group scored together. ``ours`` is the
    whole group: decoding, preparing, scoring. ``loop`` is the group as the published glue has it: each candidate is
    written to a file and read again, the video is decoded and everything prepared anew, and scored alone. ``bf16``
    scores in half precision, where a reward has it, and how far that moves them.

    Args:
        group: Candidates of the clip.
        looped: How many of these the loop over files does, which all cost the same; the rest is their mean.
        side: Side of the frames in pixels.
        rounds: How often each is timed.
        device: Where.
    """

    group: int = 8
    looped: int = 2
    side: int = 224
    rounds: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @torch.inference_mode()
    def run(
        self, rewards: Iterable[tuple[str, Reward]], clip: Clip, plan: Plan, on_step: Step = lambda _: None
    ) -> Report:
        """Time rewards one after the other, each of which may be given up before the next is made.

        Args:
            rewards: Rewards and the name of the row of each.
            clip: The clip, with frames and, as its sound, the reference.
            plan: Its plan.
            on_step: Called with what is timed next.
        """
        report = Report(COLUMNS)
        skipped = {}
        sounds = candidates(clip, self.group).to(self.device)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if clip.frames is not None and clip.fps is not None:
                write_video(clip.frames, clip.fps, folder / "clip.mp4", clip.audio, clip.sample_rate_hz or RATE_HZ)
            for row, reward in rewards:
                try:
                    for _ in range(self.rounds):
                        self._time_reward(report, row, reward, plan, sounds, folder, on_step)
                except NotApplicableError as error:
                    skipped[row] = str(error)
        self._add_up(report)
        report.meta = {
            "group": self.group,
            "looped": self.looped,
            "duration_s": clip.duration_s,
            "device": str(self.device),
            "clock": "processor" if self.device.type == "cpu" else "wall",
            "threads": torch.get_num_threads(),
            "versions": {"prismaudio": __version__, "torch": torch.__version__, "python": sys.version.split()[0]},
            "skipped": skipped,
        }
        return report

    def _time_reward(
        self, report: Report, row: str, reward: Reward, plan: Plan, sounds: Tensor, folder: Path, on_step: Step
    ) -> None:
        def timed(what: str, work: Callable[[], Any]) -> Any:
            on_step(f"{row}: {what}")
            took_s, found = self._time(work)
            if what in COLUMNS:
                report.add(row, what, took_s)
            taken_s[what] = took_s
            return found

        taken_s: dict[str, float] = {}
        kept = folder / f"{row} {len(report.values.get(row, {}).get('ours_s', []))}"
        clip = timed("decode", lambda: self._read(folder / "clip.mp4"))
        if self.device.type == "cuda":
            prepare(reward, clip, plan)  # what a first call builds is not counted
        cache = timed("prepare_s", lambda: prepare(reward, clip, plan, kept))
        timed("kept_s", lambda: prepare(reward, clip, plan, kept))
        reward.score(sounds[:1], RATE_HZ, [cache])
        timed("one_s", lambda: reward.score(sounds[:1], RATE_HZ, [cache]))
        scores = timed("group", lambda: reward.score(sounds, RATE_HZ, [cache] * len(sounds)))
        report.add(row, "group_each_s", taken_s["group"] / len(sounds))
        ours_s = taken_s["decode"] + taken_s["prepare_s"] + taken_s["group"]
        timed("loop", lambda: [self._glue(reward, plan, sound, folder) for sound in sounds[: self.looped]])
        loop_s = taken_s["loop"] * len(sounds) / self.looped
        for column, value in (("ours_s", ours_s), ("loop_s", loop_s), ("faster", loop_s / ours_s)):
            report.add(row, column, value)
        if (half := in_half(reward)) is not None:
            self._time_half(report, row, half, sounds, cache, scores)

    def _add_up(self, report: Report) -> None:
        """A row for all rewards together."""
        rows = list(report.values.values())
        for turn in range(self.rounds if rows else 0):
            ours_s, loop_s = (sum(row[column][turn] for row in rows) for column in ("ours_s", "loop_s"))
            for column, value in (("ours_s", ours_s), ("loop_s", loop_s), ("faster", loop_s / ours_s)):
                report.add(ALL, column, value)

    def _time_half(self, report: Report, row: str, half: Reward, sounds: Tensor, cache: Cache, scores: Tensor) -> None:
        half.score(sounds[:1], RATE_HZ, [cache])
        took_s, found = self._time(lambda: half.score(sounds, RATE_HZ, [cache] * len(sounds)))
        report.add(row, "bf16_each_s", took_s / len(sounds))
        report.add(row, "bf16_moves", float((found - scores).abs().max()))

    def _glue(self, reward: Reward, plan: Plan, sound: Tensor, folder: Path) -> Tensor:
        """One candidate as the published code scores it."""
        path = folder / "candidate.wav"
        write_wav(sound.cpu(), RATE_HZ, path)
        clip = self._read(folder / "clip.mp4")
        heard = read_audio_track(path, RATE_HZ)
        if heard is None:
            raise NotApplicableError("its sound could not be read again")
        return reward.score(heard[None].to(self.device), RATE_HZ, [prepare(reward, clip, plan)])

    def _read(self, path: Path) -> Clip:
        spec = FrameSpec(25.0, self.side, keep_aspect_ratio=True)
        return replace(read_clip(path, spec, with_audio=True, sample_rate_hz=RATE_HZ), id="clip")

    def _time(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """Seconds that something takes, and what it returns."""
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        start_s = clock()
        found = work()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return clock() - start_s, found


def candidates(clip: Clip, count: int) -> Tensor:
    """Audio ``(count, 2, samples)`` at 44.1 kHz as long as a clip, each different."""
    n_samples = round(clip.duration_s * RATE_HZ)
    generator = torch.Generator().manual_seed(0)
    envelope = torch.linspace(0, 6 * clip.duration_s, n_samples).cos().square()
    return 0.1 * envelope * torch.randn(count, 2, n_samples, generator=generator)


def untrained(kind: type[Reward], tokenizer: str | None = None) -> Reward | None:
    """A reward whose network has random weights, of the published size; None for one that takes no network.

    Args:
        kind: Its class.
        tokenizer: A tokenizer in place of the published one, for those that read text.
    """
    arguments = inspect.signature(kind).parameters
    hint = get_type_hints(kind.__init__).get("network")
    networks = [part for part in get_args(hint) if isinstance(part, type) and issubclass(part, nn.Module)]
    if not networks:
        return None
    torch.manual_seed(0)
    given: dict[str, Any] = {"network": networks[0]().eval().requires_grad_(requires_grad=False)}
    if "tokenizer" in arguments:
        given["tokenizer"] = tokenizer
    return kind(**given)


def in_half(reward: Reward) -> Reward | None:
    """The same reward with the same network in half precision; None where it has no such option."""
    arguments = inspect.signature(type(reward)).parameters
    if "precision" not in arguments or "network" not in arguments:
        return None
    network = next(iter(reward.networks), None)
    return None if network is None else type(reward)(precision="bf16", network=network)  # type: ignore[call-arg]
