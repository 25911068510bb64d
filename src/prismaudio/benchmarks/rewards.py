"""The reward benchmark: cost of each phase of scoring, compared with the file-based loop of the published code."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn

from prismaudio import __version__
from prismaudio.benchmarks.report import Report
from prismaudio.devices import synchronize
from prismaudio.errors import NotApplicableError
from prismaudio.media.reading import read_audio_track, read_clip
from prismaudio.media.writing import write_video, write_wav
from prismaudio.profiling import GIB
from prismaudio.rewards.preparing import prepare
from prismaudio.signatures import parameters, type_hints
from prismaudio.types import FrameSpec

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.rewards.base import Cache, Reward
    from prismaudio.types import Clip

COLUMNS = (
    *("prepare_s", "kept_s", "one_s", "group_each_s", "ours_s", "loop_s", "faster"),
    *("bf16_each_s", "bf16_moves"),
    *("candidates_per_s", "gpu_gib"),
)
RATE_HZ = 44_100
ALL = "all"
Step = Callable[[str], None]


@dataclass
class RewardCosts:
    """Times each reward on one clip and a group of candidates.

    Times are in seconds, on a CPU as processor time of all cores, which excludes other programs: ``prepare`` of the
    clip, then ``kept``, the same from disk; ``one`` score, and ``group_each``, per candidate of a group scored
    together. ``ours`` is the whole group: decoding, preparing, scoring. ``loop`` is the group as in the published code:
    each candidate is written to a file, read again and scored alone, after decoding the video and preparing anew.
    ``bf16`` is scoring in half precision, for rewards that support it, and the change of the scores.
    ``candidates_per_s`` is the number of candidates of the group that are scored in a second, ``gpu_gib`` the peak
    memory of the GPU meanwhile, in GiB. On a GPU each time ends when the device is done.

    Args:
        group: Number of candidates.
        looped: Number of candidates that are timed in the loop over files; the total is extrapolated.
        side: Height and width of the frames in pixels.
        rounds: Number of repetitions.
        device: Device to run on.
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
        """Time rewards one by one; each can be freed before the next is created.

        Args:
            rewards: Row names and rewards.
            clip: The clip, with frames and, as ``clip.audio``, the reference.
            plan: The plan of the clip.
            on_step: Called with the name of the next step.
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
            prepare(reward, clip, plan)  # excludes one-time initialization
        cache = timed("prepare_s", lambda: prepare(reward, clip, plan, kept))
        timed("kept_s", lambda: prepare(reward, clip, plan, kept))
        reward.score(sounds[:1], RATE_HZ, [cache])
        timed("one_s", lambda: reward.score(sounds[:1], RATE_HZ, [cache]))
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        scores = timed("group", lambda: reward.score(sounds, RATE_HZ, [cache] * len(sounds)))
        report.add(row, "group_each_s", taken_s["group"] / len(sounds))
        report.add(row, "candidates_per_s", len(sounds) / taken_s["group"])
        if self.device.type == "cuda":
            report.add(row, "gpu_gib", torch.cuda.max_memory_allocated(self.device) / GIB)
        ours_s = taken_s["decode"] + taken_s["prepare_s"] + taken_s["group"]
        timed("loop", lambda: [self._score_from_file(reward, plan, sound, folder) for sound in sounds[: self.looped]])
        loop_s = taken_s["loop"] * len(sounds) / self.looped
        for column, value in (("ours_s", ours_s), ("loop_s", loop_s), ("faster", loop_s / ours_s)):
            report.add(row, column, value)
        if (half := in_half(reward)) is not None:
            self._time_half(report, row, half, sounds, cache, scores)

    def _add_up(self, report: Report) -> None:
        """Add a row for the sum over all rewards."""
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

    def _score_from_file(self, reward: Reward, plan: Plan, sound: Tensor, folder: Path) -> Tensor:
        """Score one candidate as the published code does."""
        path = folder / "candidate.wav"
        write_wav(sound.cpu(), RATE_HZ, path)
        clip = self._read(folder / "clip.mp4")
        audio = read_audio_track(path, RATE_HZ)
        if audio is None:
            raise NotApplicableError("the audio of the candidate could not be read")
        return reward.score(audio[None].to(self.device), RATE_HZ, [prepare(reward, clip, plan)])

    def _read(self, path: Path) -> Clip:
        spec = FrameSpec(25.0, self.side, keep_aspect_ratio=True)
        return replace(read_clip(path, spec, with_audio=True, sample_rate_hz=RATE_HZ), id="clip")

    def _time(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """Duration of a call in seconds, and its result."""
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        synchronize(self.device)
        start_s = clock()
        found = work()
        synchronize(self.device)
        return clock() - start_s, found


def candidates(clip: Clip, count: int) -> Tensor:
    """Audio ``(count, 2, samples)`` at 44.1 kHz as long as a clip, each different."""
    n_samples = round(clip.duration_s * RATE_HZ)
    generator = torch.Generator().manual_seed(0)
    envelope = torch.linspace(0, 6 * clip.duration_s, n_samples).cos().square()
    return 0.1 * envelope * torch.randn(count, 2, n_samples, generator=generator)


def untrained(kind: type[Reward], tokenizer: str | None = None) -> Reward | None:
    """A reward with a randomly initialized network of the published size; None for a class without a network.

    Args:
        kind: Class of the reward.
        tokenizer: A tokenizer to use instead of the published one, for rewards with a text encoder.
    """
    network = network_of(kind)
    if network is None:
        return None
    torch.manual_seed(0)
    given: dict[str, Any] = {"network": network().eval().requires_grad_(requires_grad=False)}
    if "tokenizer" in parameters(kind):
        given["tokenizer"] = tokenizer
    return kind(**given)


def network_of(kind: type[Reward]) -> type[nn.Module] | None:
    """The class of the network of a reward, which has the published size by default; None without one."""
    parts = get_args(type_hints(kind).get("network"))
    return next((part for part in parts if isinstance(part, type) and issubclass(part, nn.Module)), None)


def in_half(reward: Reward) -> Reward | None:
    """The same reward with the same network in half precision; None if it has no such option."""
    arguments = parameters(type(reward))
    if "precision" not in arguments or "network" not in arguments:
        return None
    network = next(iter(reward.networks), None)
    return None if network is None else type(reward)(precision="bf16", network=network)  # type: ignore[call-arg]
