"""The pipeline class for scripts and notebooks: load a model, plan, generate, save."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import torch

from prismaudio import __version__, pretrained
from prismaudio.audio.level import limit_
from prismaudio.audio.resample import resample
from prismaudio.autoencoders.base import Autoencoder
from prismaudio.autoencoders.half import HalfPrecisionDecoder
from prismaudio.checkpoints import save_components
from prismaudio.devices import PRECISIONS, find_device
from prismaudio.encoders.base import as_components, by_stream
from prismaudio.errors import MediaError, PrismAudioError, truncated
from prismaudio.inference import features, planning
from prismaudio.inference.generated import GeneratedAudio
from prismaudio.inference.rendering import Renderer
from prismaudio.inference.sampling import make_sampler
from prismaudio.inference.settings import Guidance, Settings
from prismaudio.media import probe, read_audio_track, read_clip, read_clips
from prismaudio.models.graphs import GraphedTransformer
from prismaudio.paths import expanded
from prismaudio.plan import CORE, Plan
from prismaudio.pretrained.card import About
from prismaudio.pretrained.upload import Hub, open_model
from prismaudio.profiling import phase
from prismaudio.registry import discover
from prismaudio.samplers.euler import EulerSampler
from prismaudio.types import Clip, Conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Sequence

    from torch import Tensor

    from prismaudio.components import Dimension
    from prismaudio.encoders.base import Encoder
    from prismaudio.models.dit import DiffusionTransformer
    from prismaudio.planners.base import Planner
    from prismaudio.samplers.base import Sampler

    Progress = Callable[[int, int], None]
    Videos = list[str | Path] | list[str] | list[Path] | tuple[str | Path, ...]

MAX_SEEDS = 2**63
COMPILE = ("auto", "on", "off")
"""How networks run on a GPU: in CUDA graphs, in CUDA graphs of compiled code, as they are."""
MIX_RATE_HZ = 48_000
"""Sample rate for mixing with the original audio, high enough to keep its high frequencies."""


@dataclass(frozen=True, eq=False)
class Unplanned:
    """A request whose video is read and whose plan is not written yet, created by :meth:`PrismAudio.read_request`.

    Args:
        clip: See :class:`Request`.
        given: A plan whose missing sections are written.
        prompt: Text of the semantic section.
        negative_prompt: Sounds and qualities to avoid.
        seed: Seed of the noise.
        video: The video file, if any.
        mix: Gain of the original audio in the mix; 0 for none.
        encoder_clips: See :class:`Request`.
    """

    clip: Clip
    given: Plan | None = None
    prompt: str = ""
    negative_prompt: str = ""
    seed: int = 0
    video: Path | None = None
    mix: float = 0.0
    encoder_clips: Mapping[str, Clip] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Request:
    """A prepared request for one audio, created by :meth:`PrismAudio.request`.

    Args:
        clip: The video at the frame rate and size of the model's settings, used by the planner.
        encoder_clips: The video for encoders with another frame specification, by stream.
        plan: The plan to render.
        seed: Seed of the noise.
        negative: The negative plan.
        warnings: Warnings about the plan.
        video: The video file, if any.
        mix: Gain of the original audio in the mix; 0 for none.
    """

    clip: Clip
    plan: Plan
    seed: int = 0
    negative: Plan | None = None
    warnings: tuple[str, ...] = ()
    video: Path | None = None
    mix: float = 0.0
    encoder_clips: Mapping[str, Clip] = field(default_factory=dict)


class PrismAudio:
    """Pipeline for video-to-audio generation: plans the audio of a video and renders it.

    Args:
        transformer: The velocity network.
        autoencoder: Decodes latents to audio.
        encoders: Encoders by stream of the transformer.
        planner: Writes plans; None for a model that renders given plans only.
        sampler: Integrates the velocity from noise to latents; :class:`EulerSampler` by default.
        settings: Segments, frames and guidance.

    ```python
    from prismaudio import PrismAudio

    model = PrismAudio.from_pretrained()
    generated = model.generate("clip.mp4")
    generated.save("clip_with_sound.mp4")
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
        self.compile_mode = "auto"
        self._on_demand: dict[torch.nn.Module, Callable[[], Any]] = {}
        self._fast: dict[torch.nn.Module, Any] = {}

    # Models ------------------------------------------------------------------------------------------------------
    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        device: str = "cpu",
        precision: str = "fp32",
        revision: str | None = None,
        *,
        low_memory: bool = False,
        compile: str = "auto",  # noqa: A002 - as torch names it
    ) -> Self:
        """Load a model.

        Args:
            source: The name of an installed model, a model folder or a folder with a published checkpoint,
                ``owner/model`` on the Hugging Face hub, or None for the only installed model.
            device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``.
            precision: ``fp32``, or ``bf16`` for the transformer's weights and arithmetic; a GPU then also decodes in
                float16, if the autoencoder allows it.
            revision: Branch, tag or commit of a model on the hub.
            low_memory: Load the weights of each network when it is used, and drop them afterwards, so that at most one
                network is in memory; they are read again for every call of :meth:`generate`. The attributes of the
                model are then networks without weights.
            compile: How the transformer and the decoder run on a GPU: ``auto`` captures CUDA graphs, ``on`` also
                compiles, which takes many seconds once and pays off for hundreds of clips, ``off`` does neither. It has
                no effect on other devices.

        Raises:
            CheckpointError: The model is missing, damaged or incomplete.
            PrismAudioError: The device or the precision is not available.
        """
        if compile not in COMPILE:
            raise PrismAudioError(f"unknown compile {compile!r}; expected {', '.join(COMPILE)}")
        makers: dict[str, Callable[[], Any]] = {}
        if low_memory:
            files = pretrained.find(source, revision)
            parts, makers = pretrained.outlines(files)
            name = f"{files.name}@{files.hash}"
        else:
            parts, name = pretrained.load(source, revision)
        core = (parts["transformer"], parts["autoencoder"], by_stream(parts), parts.get("planner"))
        model = cls(*core, parts.get("sampler"), parts.get("settings"))
        model.name, model.compile_mode = name, compile
        networks = {name: part for name, part in parts.items() if isinstance(part, torch.nn.Module)}
        model._on_demand = {part: makers[name] for name, part in networks.items() if name in makers}
        return model.to(device, precision)

    def save_pretrained(self, folder: str | Path, half: Collection[str] = ()) -> None:
        """Save the model to a folder, including weights that are not finite, for inspection.

        :meth:`from_pretrained`, :meth:`push_to_hub` and the exports of training reject NaN and infinity.

        Args:
            folder: The folder.
            half: Components whose weights are stored in half precision, such as ``transformer``.
        """
        save_components(Path(folder), self.parts(), half, finite=False)

    def parts(self) -> dict[str, Any]:
        """Components by their names in a model folder.

        Raises:
            PrismAudioError: The networks have no weights, because the model was loaded with ``low_memory``.
        """
        if self._on_demand:
            raise PrismAudioError("the model was loaded with low_memory and cannot be saved; load it without")
        parts: dict[str, Any] = {"transformer": self.transformer, "autoencoder": self.autoencoder}
        parts |= {"planner": self.planner} if self.planner is not None else {}
        return parts | {**as_components(self.encoders), "sampler": self.sampler, "settings": self.settings}

    def push_to_hub(
        self,
        repository: str,
        half: Collection[str] = (),
        *,
        licence: str | None = None,
        base_models: Sequence[str] = (),
        datasets: Sequence[str] = (),
        results: Sequence[str | Path] = (),
        private: bool = False,
        revision: str | None = None,
    ) -> str:
        """Upload the model, with a model card, to the Hugging Face hub, and return the URL of the commit.

        The command ``prismaudio push`` does the same with a folder.

        Args:
            repository: ``owner/model``; created if it does not exist.
            half: Components whose weights are stored in half precision, such as ``transformer``.
            licence: Identifier of the licence, such as ``"apache-2.0"``; None if the card on the hub states it.
            base_models: Models on the hub that it was made of, for the card.
            datasets: Data sets on the hub that it was trained on, for the card.
            results: Files of ``prismaudio score --json`` or ``prismaudio bench --json``, for the card.
            private: Whether a new repository is private.
            revision: The branch to write, created if it does not exist; None for ``main``.

        Raises:
            CheckpointError: The licence is not known, or the upload fails.
            DataError: A file with results cannot be read.
        """
        about = About(licence, base_models, datasets, [expanded(path) for path in results])
        with tempfile.TemporaryDirectory() as folder:
            save_components(Path(folder), self.parts(), half)
            url, _ = Hub(repository, private, revision).push(open_model(folder), about)
        return url

    def to(self, device: str, precision: str | None = None) -> Self:
        """Move the model to a device; see :meth:`from_pretrained`."""
        target = find_device(device)
        if precision is not None:
            if precision not in PRECISIONS:
                raise PrismAudioError(f"unknown precision {precision!r}; expected fp32 or bf16")
            self.precision = precision
            self.transformer.in_precision(PRECISIONS[precision])
        self.device = target
        self._fast.clear()
        for part in (self.transformer, self.autoencoder, self.planner, *self.encoders.values()):
            if isinstance(part, torch.nn.Module) and part not in self._on_demand:
                part.to(target).eval()
        return self

    @contextlib.contextmanager
    def ready(self, component: Any) -> Iterator[Any]:
        """A context with a component of the model that can compute: the component, or a copy that is loaded for it.

        Args:
            component: A component, such as :attr:`transformer`.
        """
        load = self._on_demand.get(component) if isinstance(component, torch.nn.Module) else None
        if load is None:
            if component is self.transformer or component is self.autoencoder:
                if component not in self._fast:
                    kept = (self.transformer, self.autoencoder)
                    self._fast = {part: fast for part, fast in self._fast.items() if part in kept}
                    self._fast[component] = self._accelerated(component)
                component = self._fast[component]
            yield component
            return
        loaded = load()
        if component is self.transformer:
            loaded.in_precision(PRECISIONS[self.precision])
        try:
            yield self._accelerated(loaded.to(self.device).eval())
        finally:
            loaded.to("meta")  # frees the weights even where a name still refers to the network

    def compile(self) -> None:
        """Compile the transformer and the decoder from now on, as with ``compile="on"`` of :meth:`from_pretrained`."""
        self.compile_mode = "on"
        self._fast.clear()

    def _accelerated(self, network: Any) -> Any:
        """What runs the transformer or the decoder on a GPU; the network itself where there is nothing faster."""
        if self.compile_mode == "off" or self.device.type != "cuda":
            return network
        if isinstance(network, type(self.transformer)):
            graphs = GraphedTransformer(network)
            if self.compile_mode == "on":
                graphs.compile()
            return graphs
        if not (isinstance(network, Autoencoder) and network.half_precision and self.precision == "bf16"):
            return network
        decoder = HalfPrecisionDecoder(network)
        if self.compile_mode == "on":
            decoder.compile_decoder()
        return decoder

    @property
    def dimensions(self) -> list[Dimension]:
        """The perceptual dimensions of this environment, including those of plugins."""
        return discover().dimensions()

    @property
    def renderer(self) -> Renderer:
        """The renderer, which generates audio from plans."""
        return Renderer(self.transformer, self.autoencoder, self.encoders, self.settings, self.device, self.ready)

    # Plans -------------------------------------------------------------------------------------------------------
    def read(self, video: str | Path) -> Clip:
        """Read a video at the frame rate and size of the model's settings."""
        with phase("reading"):
            return read_clip(video, self.settings.frame_spec)

    def _read_for_encoders(self, video: str | Path) -> tuple[Clip, dict[str, Clip]]:
        """A video as :meth:`read` returns it, and as encoders with their own frame specification need it, by stream."""
        own = self.settings.frame_spec
        specs = {stream: encoder.frame_spec for stream, encoder in self.encoders.items() if encoder.frame_spec}
        with phase("reading"):
            clips = read_clips(video, [own, *specs.values()])
        return clips[own], {stream: clips[spec] for stream, spec in specs.items() if spec != own}

    def plan(
        self,
        clip: Clip | str | Path,
        prompt: str = "",
        given: Plan | None = None,
        planners: Sequence[Planner] = (),
    ) -> Plan:
        """Write the plan of a clip.

        Args:
            clip: The clip, or a video file.
            prompt: Text of the semantic section; the planner writes the other sections.
            given: A plan whose missing sections are written.
            planners: Planners that write missing sections, in this order; the model's own writes what they leave out.

        Returns:
            The plan; its ``warnings`` list text that is not followed and sections that are chosen or omitted, its
            ``origins`` the planner of each section.

        Raises:
            PlanError: There is no video, plan or prompt, or an event is after the end of the clip.
        """
        clip = clip if isinstance(clip, Clip) else self.read(clip)
        plan = self._plans([clip], [prompt.strip()], [given], planners)[0]
        if isinstance(plan, Exception):
            raise plan
        return plan

    def _plans(
        self,
        clips: Sequence[Clip],
        prompts: Sequence[str],
        given: Sequence[Plan | None],
        planners: Sequence[Planner] = (),
    ) -> list[Plan | Exception]:
        """The plans of clips, or the errors because of which they have none; see :meth:`plan`."""
        with phase("planning"), contextlib.closing(self._planners(planners)) as every:
            plans = planning.write_plans(every, clips, self.dimensions, given, prompts)
        return [
            plan if isinstance(plan, Exception) else self._warned(plan, prompt, one)
            for plan, prompt, one in zip(plans, prompts, given, strict=True)
        ]

    def _warned(self, plan: Plan, prompt: str, given: Plan | None) -> Plan:
        """The plan, with a warning about what a user wrote and no encoder understands."""
        texts = [prompt] if prompt else [text for name, text in (given or {}).items() if name in CORE]
        unknown = planning.unknown_text_warnings(texts, self.encoders.values())
        return Plan(plan, [*unknown, *plan.warnings], plan.origins)

    def _planners(self, first: Sequence[Planner]) -> Generator[Planner]:
        """Planners, and that of the model, which is loaded when it is needed."""
        yield from first
        if self.planner is not None:
            with self.ready(self.planner) as planner:
                yield planner

    def read_plan(self, plan: Plan | str | Path) -> Plan:
        """Parse a plan from its text or its file."""
        if isinstance(plan, Plan):
            return plan
        is_text = isinstance(plan, str) and ("<" in plan or "\n" in plan)
        return Plan.parse(str(plan), self.dimensions) if is_text else Plan.load(expanded(plan), self.dimensions)

    # Audio -------------------------------------------------------------------------------------------------------
    @overload
    def generate(self, video: str | Path | None = None, **options: Any) -> GeneratedAudio: ...

    @overload
    def generate(self, video: Videos, **options: Any) -> list[GeneratedAudio]: ...

    def generate(  # type: ignore[misc]  # the overloads do not repeat its options
        self,
        video: str | Path | Videos | None = None,
        *,
        plan: Plan | str | Path | None = None,
        prompt: str = "",
        planners: Sequence[Planner] = (),
        negative_prompt: str = "",
        seed: int = 0,
        steps: int | None = None,
        guidance: float | Guidance | None = None,
        sampler: Sampler | str | None = None,
        duration_s: float | None = None,
        mix: float = 0.0,
        batch_size: int = 4,
        progress: Progress | None = None,
    ) -> GeneratedAudio | list[GeneratedAudio]:
        """Generate audio for a video, for several, or from text alone.

        Args:
            video: The video file; a list of them, for a list of audio; None for audio from a plan or a prompt.
            plan: A plan, its text or its file; the planner writes missing sections.
            prompt: Text of the semantic section.
            planners: Planners that write missing sections before the model's own, see :meth:`plan`.
            negative_prompt: Sounds and qualities to avoid.
            seed: Seed of the noise; the same seed gives the same audio, also among other videos.
            steps: Number of sampling steps; more steps are more accurate and slower.
            guidance: Guidance scale; 1 disables guidance. A ``Guidance`` also sets rescaling and interval.
            sampler: A sampler, or its name.
            duration_s: Length in seconds, without a video only.
            mix: Gain of the video's original audio in the mix.
            batch_size: Videos that are planned and rendered together.
            progress: Called with (finished steps, total steps) of a batch; may raise to stop.

        Raises:
            PrismAudioError: The input is not valid; the message is one line.

        ```python
        for generated in model.generate(["door.mp4", "street.mp4"], seed=1):
            generated.save(f"{generated.video.stem}.wav")
        ```
        """
        several = isinstance(video, list | tuple)
        videos = video if isinstance(video, list | tuple) else [video]
        if batch_size < 1:
            raise PrismAudioError(f"batch_size is {batch_size}; expected 1 or more")
        made: list[GeneratedAudio] = []
        for begin in range(0, len(videos), batch_size):
            unplanned = [
                self.read_request(
                    one, plan=plan, prompt=prompt, negative_prompt=negative_prompt, seed=seed, duration_s=duration_s,
                    mix=mix,
                )
                for one in videos[begin : begin + batch_size]
            ]  # fmt: skip
            requests = []
            for planned in self.plan_requests(unplanned, planners):
                if isinstance(planned, Exception):
                    raise planned
                requests.append(planned)
            made += self.generate_batch(requests, steps=steps, guidance=guidance, sampler=sampler, progress=progress)
        return made if several else made[0]

    def request(
        self,
        video: str | Path | None = None,
        *,
        plan: Plan | str | Path | None = None,
        prompt: str = "",
        planners: Sequence[Planner] = (),
        negative_prompt: str = "",
        seed: int = 0,
        duration_s: float | None = None,
        mix: float = 0.0,
    ) -> Request:
        """Read a video and write its plan: the first half of :meth:`generate`."""
        unplanned = self.read_request(
            video, plan=plan, prompt=prompt, negative_prompt=negative_prompt, seed=seed, duration_s=duration_s, mix=mix
        )
        made = self.plan_requests([unplanned], planners)[0]
        if isinstance(made, Exception):
            raise made
        return made

    def read_request(
        self,
        video: str | Path | None = None,
        *,
        plan: Plan | str | Path | None = None,
        prompt: str = "",
        negative_prompt: str = "",
        seed: int = 0,
        duration_s: float | None = None,
        mix: float = 0.0,
    ) -> Unplanned:
        """Read a video and check what is requested; several threads may do so at once. See :meth:`generate`."""
        pretrained.check_encoders(self.transformer, self.encoders)
        if not 0 <= seed < MAX_SEEDS:
            shown = truncated(str(seed), 40) if seed.bit_length() < 10_000 else f"of {seed.bit_length()} bits"
            raise PrismAudioError(f"the seed {shown} is out of range; expected a whole number from 0 to 2**63 - 1")
        given = None if plan is None else self.read_plan(plan)
        encoder_clips: dict[str, Clip] = {}
        if video is None:
            if duration_s is None:
                raise MediaError(
                    "the length of audio without a video is not given; set duration_s, or --duration SECONDS"
                )
            if not 0.2 <= duration_s <= 3600:
                raise MediaError(f"a duration of {duration_s} s is out of range; expected 0.2 to 3600 s")
            clip = Clip("sound", duration_s)
        elif duration_s is not None:
            raise MediaError(
                "duration_s applies to audio without a video only; the audio of a video is as long as the video"
            )
        else:
            clip, encoder_clips = self._read_for_encoders(video)
        path = None if video is None else Path(video)
        return Unplanned(clip, given, prompt.strip(), negative_prompt, seed, path, mix, encoder_clips)

    def plan_requests(
        self, unplanned: Sequence[Unplanned], planners: Sequence[Planner] = ()
    ) -> list[Request | Exception]:
        """Write the plans of requests; planners are given them together.

        Args:
            unplanned: The requests.
            planners: See :meth:`plan`.

        Returns:
            Each request with its plan, or the error because of which it has none.
        """
        texts = [one.prompt for one in unplanned], [one.given for one in unplanned]
        plans = self._plans([one.clip for one in unplanned], *texts, planners)
        return [
            plan if isinstance(plan, Exception) else self._planned(one, plan)
            for one, plan in zip(unplanned, plans, strict=True)
        ]

    def _planned(self, one: Unplanned, plan: Plan) -> Request:
        warnings, negative = list(plan.warnings), None
        if one.negative_prompt.strip():
            negative = planning.negative_plan(one.negative_prompt)
            unknown = planning.unknown_text_warnings([one.negative_prompt], self.encoders.values())
            warnings += [f"negative prompt: {warning}" for warning in unknown]
        return Request(one.clip, plan, one.seed, negative, tuple(warnings), one.video, one.mix, one.encoder_clips)

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
            encoder_clips=[r.encoder_clips for r in requests],
        )
        return [self._output(r, audio, chosen, guided) for r, audio in zip(requests, made, strict=True)]

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
        """Generate audio ``(2, samples)`` for a batch of clips in memory.

        Args:
            clips: Clips of any length; all encoders receive the same frames.
            plans: Plan of each clip.
            seeds: Seed of each clip.
            guidance: Guidance scale or ``Guidance``; by default that of the model's settings.
            negative_plans: Negative plan of each clip.
            on_step: Called with (finished steps, total steps); may raise to stop.
        """
        pretrained.check_encoders(self.transformer, self.encoders)
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
        """Generate audio ``(2, samples)`` from precomputed features, without encoders or a planner.

        Args:
            conditions: Features of all samples, or a file with those of one clip, such as a published ``.npz``.
                Streams may be missing.
            duration_s: Length of each audio in seconds.
            seeds: Seed of each sample.
            steps: Number of sampling steps.
            guidance: Guidance scale; 1 disables guidance.
            sampler: A sampler, or its name.
            negative: Negative conditions.
            on_step: Called with (finished steps, total steps); may raise to stop.

        Raises:
            PrismAudioError: The features do not fit the model.
        """
        given = conditions if isinstance(conditions, Conditions) else features.read_conditions(conditions)
        chosen, guided = make_sampler(self.sampler, sampler, steps), self.settings.guided(guidance)
        return features.render_conditions(self.renderer, given, duration_s, seeds, chosen, guided, negative, on_step)

    def _output(self, request: Request, audio: Tensor, sampler: Sampler, guidance: Guidance) -> GeneratedAudio:
        """The output of a request, mixed with the original audio if requested."""
        warnings, rate_hz = list(request.warnings), self.autoencoder.sample_rate_hz
        if request.negative is not None and guidance.scale == 1:
            warnings.append("a negative prompt has no effect with guidance 1")
        if request.mix and request.video is not None:
            own = read_audio_track(request.video, MIX_RATE_HZ, request.clip.duration_s, probe(request.video).start_s)
            if own is None:
                warnings.append("the video has no audio to mix with")
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
        """Versions of the installed plugins, which may affect the result."""
        used = [p for p in discover().plugins if p.status == "ok" and p.distribution and p.distribution != "prismaudio"]
        return {str(plugin.distribution): str(plugin.version) for plugin in used}
