"""The class that a notebook uses: load a model, plan, render, save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from prismaudio import __version__, pretrained
from prismaudio.audio.level import limit_
from prismaudio.audio.resample import resample
from prismaudio.checkpoints import save_components
from prismaudio.devices import PRECISIONS, find_device
from prismaudio.encoders.base import as_components, by_stream
from prismaudio.errors import MediaError, PrismAudioError, shortened
from prismaudio.inference import features, hub, planning
from prismaudio.inference.generated import GeneratedAudio
from prismaudio.inference.rendering import Renderer
from prismaudio.inference.sampling import make_sampler
from prismaudio.inference.settings import Guidance, Settings
from prismaudio.media import probe, read_audio_track, read_clip
from prismaudio.paths import expanded
from prismaudio.plan import CORE, Plan
from prismaudio.registry import discover
from prismaudio.samplers.euler import EulerSampler
from prismaudio.types import Clip, Conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from torch import Tensor

    from prismaudio.autoencoders.base import Autoencoder
    from prismaudio.components import Dimension
    from prismaudio.encoders.base import Encoder
    from prismaudio.models.dit import DiffusionTransformer
    from prismaudio.planners.base import Planner
    from prismaudio.samplers.base import Sampler

    Progress = Callable[[int, int], None]

MAX_SEEDS = 2**63
MIX_RATE_HZ = 48_000
"""Sample rate of sound that is mixed with the original one, whose highs must not be lost."""


@dataclass(frozen=True, eq=False)
class Request:
    """One sound that is wanted, made ready by :meth:`PrismAudio.request`.

    Args:
        clip: The video at the rate and size of the model's settings, which the planner watches.
        watched: The video as an encoder of a stream wants to see it, where that differs.
        plan: What it renders.
        seed: Seed of the noise.
        negative: What to stay away from.
        warnings: How the plan came about, where that needs saying.
        video: The file, if there is one.
        mix: Gain of the original sound that is added; 0 for none.
    """

    clip: Clip
    plan: Plan
    seed: int = 0
    negative: Plan | None = None
    warnings: tuple[str, ...] = ()
    video: Path | None = None
    mix: float = 0.0
    watched: Mapping[str, Clip] = field(default_factory=dict)


class PrismAudio:
    """Plans the sound of a video and renders it.

    Args:
        transformer: The velocity network.
        autoencoder: From latents to sound.
        encoders: Encoder of each stream that the transformer is told, by stream name.
        planner: Who writes plans; None for a model that renders given plans only.
        sampler: From noise to latents; Euler's method by default.
        settings: Window, frames and guidance.

    ```python
    from prismaudio import PrismAudio

    model = PrismAudio.from_pretrained()
    sound = model.generate("clip.mp4")
    sound.save("clip_with_sound.mp4")
    ```
    """

    def __init__(
        self,
        transformer: DiffusionTransformer,
        autoencoder: Autoencoder,
        encoders: Mapping[str, Encoder],
        planner: Planner | None = None,
        sampler: Sampler | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.transformer, self.autoencoder, self.planner = transformer, autoencoder, planner
        self.encoders = dict(encoders)
        self.sampler = sampler or EulerSampler()
        self.settings = settings or Settings()
        self.name = type(transformer).__name__
        self.device, self.precision = torch.device("cpu"), "fp32"

    # Models ------------------------------------------------------------------------------------------------------
    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        device: str = "cpu",
        precision: str = "fp32",
        revision: str | None = None,
    ) -> Self:
        """Load a model.

        Args:
            source: The name of an installed model, a model folder, ``owner/model`` on the Hugging Face hub, or None for
                the model that is installed.
            device: Where it runs: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``.
            precision: ``fp32``, or ``bf16`` for the transformer's weights and arithmetic.
            revision: Branch, tag or commit of a model on the hub.

        Raises:
            CheckpointError: There is no such model.
            PrismAudioError: There is no such device or precision.
        """
        parts, name = pretrained.load(source, revision)
        core = (parts["transformer"], parts["autoencoder"], by_stream(parts), parts.get("planner"))
        model = cls(*core, parts.get("sampler"), parts.get("settings"))
        model.name = name
        return model.to(device, precision)

    def save_pretrained(self, folder: str | Path, half: Collection[str] = ()) -> None:
        """Write a model folder, of weights that are not finite, too, so that they can be looked at.

        :meth:`from_pretrained`, :meth:`push_to_hub` and the exports of training refuse NaN and infinity.

        Args:
            folder: The folder.
            half: Parts whose weights are stored in half precision, such as ``transformer``.
        """
        save_components(Path(folder), self.parts(), half, finite=False)

    def parts(self) -> dict[str, Any]:
        """Components by their names in a model folder."""
        parts: dict[str, Any] = {"transformer": self.transformer, "autoencoder": self.autoencoder}
        parts |= {"planner": self.planner} if self.planner is not None else {}
        return parts | {**as_components(self.encoders), "sampler": self.sampler, "settings": self.settings}

    def push_to_hub(self, repository: str, half: Collection[str] = (), *, private: bool = False) -> str:
        """Put the model, with a page about it, on the Hugging Face hub, and give its address.

        Args:
            repository: ``owner/model``; made if it is not there.
            half: Parts whose weights are stored in half precision, such as ``transformer``.
            private: Whether a new repository is for its owner alone.

        Raises:
            CheckpointError: The hub does not take it.
        """
        return hub.push(self.parts(), repository, half, private=private)

    def to(self, device: str, precision: str | None = None) -> Self:
        """Move the model to a device; see :meth:`from_pretrained`."""
        target = find_device(device)
        if precision is not None:
            if precision not in PRECISIONS:
                raise PrismAudioError(f"unknown precision {precision!r}; expected fp32 or bf16")
            self.precision = precision
            self.transformer.in_precision(PRECISIONS[precision])
        self.device = target
        for part in (self.transformer, self.autoencoder, self.planner, *self.encoders.values()):
            if isinstance(part, torch.nn.Module):
                part.to(target).eval()
        return self

    @property
    def dimensions(self) -> list[Dimension]:
        """The perceptual dimensions of this environment, those of plugins included."""
        return discover().dimensions()

    @property
    def renderer(self) -> Renderer:
        """The part that turns plans into sound."""
        return Renderer(self.transformer, self.autoencoder, self.encoders, self.settings, self.device)

    # Plans -------------------------------------------------------------------------------------------------------
    def read(self, video: str | Path) -> Clip:
        """A video at the rate and size of the model's settings."""
        return read_clip(video, self.settings.frame_spec)

    def _watched(self, video: str | Path) -> dict[str, Clip]:
        """A video as those encoders want to see it that declare frames of their own, by stream."""
        specs = {stream: encoder.frame_spec for stream, encoder in self.encoders.items()}
        own = {spec: read_clip(video, spec) for spec in set(specs.values()) - {None, self.settings.frame_spec} if spec}
        return {stream: own[spec] for stream, spec in specs.items() if spec in own}

    def plan(self, clip: Clip | str | Path, prompt: str = "", given: Plan | None = None) -> Plan:
        """Watch a clip and write its plan.

        Args:
            clip: The clip, or a video file.
            prompt: What is to be heard: it becomes the semantic section, and the other sections are about it.
            given: A plan whose missing sections are written.

        Returns:
            The plan; its ``warnings`` say what came about otherwise than the user may think.

        Raises:
            PlanError: Nothing says what is to be heard, or something happens after the end of the clip.
        """
        clip, prompt = clip if isinstance(clip, Clip) else self.read(clip), prompt.strip()
        plan = planning.write_plan(self.planner, clip, self.dimensions, given, prompt)
        said = [prompt] if prompt else [text for name, text in (given or {}).items() if name in CORE]
        unknown = planning.not_understood(said, self.encoders.values())
        return Plan(plan, [*unknown, *plan.warnings])

    def read_plan(self, plan: Plan | str | Path) -> Plan:
        """A plan from its text or its file."""
        if isinstance(plan, Plan):
            return plan
        is_text = isinstance(plan, str) and ("<" in plan or "\n" in plan)
        return Plan.parse(str(plan), self.dimensions) if is_text else Plan.load(expanded(plan), self.dimensions)

    # Sound -------------------------------------------------------------------------------------------------------
    def generate(
        self,
        video: str | Path | None = None,
        *,
        plan: Plan | str | Path | None = None,
        prompt: str = "",
        negative_prompt: str = "",
        seed: int = 0,
        steps: int | None = None,
        guidance: float | Guidance | None = None,
        sampler: Sampler | str | None = None,
        duration_s: float | None = None,
        mix: float = 0.0,
        progress: Progress | None = None,
    ) -> GeneratedAudio:
        """Make the sound of a video, or of a text alone.

        Args:
            video: The video file; None for sound from a plan or a prompt.
            plan: A plan, its text or its file; sections that it lacks are written by the planner.
            prompt: What is to be heard; becomes the semantic section.
            negative_prompt: What is not to be heard.
            seed: The same seed gives the same sound.
            steps: Steps of the sampler; more is finer and slower.
            guidance: How closely the plan is followed; 1 is the network as it is. A ``Guidance`` says when, too.
            sampler: A sampler, or the name of one.
            duration_s: Length in seconds, where there is no video.
            mix: Gain of the video's own sound that is added to the new one.
            progress: Called with (steps done, steps in all); raise in it to stop.

        Raises:
            PrismAudioError: Something about the input is wrong; the text says what, in one line.
        """
        request = self.request(
            video, plan=plan, prompt=prompt, negative_prompt=negative_prompt, seed=seed, duration_s=duration_s, mix=mix
        )
        options: dict[str, Any] = {"steps": steps, "guidance": guidance, "sampler": sampler}
        return self.generate_batch([request], progress=progress, **options)[0]

    def request(
        self,
        video: str | Path | None = None,
        *,
        plan: Plan | str | Path | None = None,
        prompt: str = "",
        negative_prompt: str = "",
        seed: int = 0,
        duration_s: float | None = None,
        mix: float = 0.0,
    ) -> Request:
        """Read a video and settle its plan: the first half of :meth:`generate`."""
        pretrained.need_encoders(self.transformer, self.encoders)
        if not 0 <= seed < MAX_SEEDS:
            shown = shortened(str(seed), 40) if seed.bit_length() < 10_000 else f"of {seed.bit_length()} bits"
            raise PrismAudioError(f"the seed {shown} is out of range; expected a whole number from 0 to 2**63 - 1")
        given = None if plan is None else self.read_plan(plan)
        if video is None:
            if duration_s is None:
                raise MediaError("without a video the length of the sound must be given; say --duration SECONDS")
            if not 0.2 <= duration_s <= 3600:
                raise MediaError(f"a duration of {duration_s} s is out of range; expected 0.2 to 3600 s")
            clip = Clip("sound", duration_s)
        elif duration_s is not None:
            raise MediaError("a duration is for sound without video; a video's sound is as long as the video")
        else:
            clip = self.read(video)
        plan = self.plan(clip, prompt, given)
        warnings, negative = list(plan.warnings), None
        if negative_prompt.strip():
            negative = planning.unwanted(negative_prompt)
            unknown = planning.not_understood([negative_prompt], self.encoders.values())
            warnings += [f"negative prompt: {warning}" for warning in unknown]
        path = None if video is None else Path(video)
        watched = {} if video is None else self._watched(video)
        return Request(clip, plan, seed, negative, tuple(warnings), path, mix, watched)

    def generate_batch(
        self,
        requests: Sequence[Request],
        *,
        steps: int | None = None,
        guidance: float | Guidance | None = None,
        sampler: Sampler | str | None = None,
        progress: Progress | None = None,
    ) -> list[GeneratedAudio]:
        """Render requests together: the second half of :meth:`generate`."""
        chosen = make_sampler(self.sampler, sampler, steps)
        guided = self.settings.guided(guidance)
        clips, plans = [r.clip for r in requests], [r.plan for r in requests]
        made = self.renderer.render(
            *(clips, plans, [r.seed for r in requests], chosen, guided, [r.negative for r in requests], progress),
            watched=[r.watched for r in requests],
        )
        return [self._sound(r, audio, chosen, guided) for r, audio in zip(requests, made, strict=True)]

    def render(
        self,
        clips: Sequence[Clip],
        plans: Sequence[Plan],
        seeds: Sequence[int],
        *,
        guidance: float | Guidance | None = None,
        negative_plans: Sequence[Plan | None] | None = None,
        on_step: Progress | None = None,
    ) -> list[Tensor]:
        """Audio ``(2, samples)`` of clips in memory, batched, each from its own seed.

        Args:
            clips: Clips of any length, whose frames all encoders see.
            plans: Their plans.
            seeds: Their seeds.
            guidance: How closely plans are followed; the model's own by default.
            negative_plans: What to stay away from, for each clip.
            on_step: Called with (steps done, steps in all); may raise to stop.
        """
        pretrained.need_encoders(self.transformer, self.encoders)
        guided = self.settings.guided(guidance)
        return self.renderer.render(clips, plans, seeds, self.sampler, guided, negative_plans, on_step)

    def render_features(
        self,
        conditions: Conditions | str | Path,
        duration_s: float,
        seeds: Sequence[int] = (0,),
        *,
        steps: int | None = None,
        guidance: float | Guidance | None = None,
        sampler: Sampler | str | None = None,
        negative: Conditions | None = None,
        on_step: Progress | None = None,
    ) -> list[Tensor]:
        """Audio ``(2, samples)`` from features that were computed before: neither encoders nor a planner are needed.

        Args:
            conditions: Features of all samples, or a file with those of one clip, such as a published ``.npz``.
                Streams may be missing.
            duration_s: Length of each sound in seconds.
            seeds: A seed for each sample.
            steps: Steps of the sampler.
            guidance: How closely the conditions are followed; 1 is the network as it is.
            sampler: A sampler, or the name of one.
            negative: What to stay away from.
            on_step: Called with (steps done, steps in all); may raise to stop.

        Raises:
            PrismAudioError: The features are not those that the model was made for.
        """
        given = conditions if isinstance(conditions, Conditions) else features.read_conditions(conditions)
        chosen, guided = make_sampler(self.sampler, sampler, steps), self.settings.guided(guidance)
        return features.render_conditions(self.renderer, given, duration_s, seeds, chosen, guided, negative, on_step)

    def _sound(self, request: Request, audio: Tensor, sampler: Sampler, guidance: Guidance) -> GeneratedAudio:
        """The finished sound of a request, mixed with the original if that is wanted."""
        warnings, rate_hz = list(request.warnings), self.autoencoder.sample_rate_hz
        if request.negative is not None and guidance.scale == 1:
            warnings.append("a negative prompt has no effect with guidance 1")
        if request.mix and request.video is not None:
            own = read_audio_track(request.video, MIX_RATE_HZ, request.clip.duration_s, probe(request.video).start_s)
            if own is None:
                warnings.append("the video has no sound of its own to mix with")
            else:
                new = resample(audio, rate_hz, MIX_RATE_HZ)
                n_samples = min(new.shape[1], own.shape[1])
                audio = limit_(new[:, :n_samples] + request.mix * own[:, :n_samples], MIX_RATE_HZ)
                rate_hz = MIX_RATE_HZ
        settings = {
            "model": self.name,
            "sampler": {"name": type(sampler).__name__, **sampler.config},
            "guidance": asdict(guidance),
            "negative_plan": None if request.negative is None else dict(request.negative),
            "mix": request.mix,
            "precision": self.precision,
            "device": str(self.device),
            "versions": {"prismaudio": __version__, "torch": torch.__version__, **self._plugins()},
        }
        return GeneratedAudio(request.plan, audio, rate_hz, request.seed, settings, tuple(warnings), request.video)

    @staticmethod
    def _plugins() -> dict[str, str]:
        """Versions of the plugins that may have had a part in it."""
        used = [p for p in discover().plugins if p.status == "ok" and p.distribution and p.distribution != "prismaudio"]
        return {str(plugin.distribution): str(plugin.version) for plugin in used}
