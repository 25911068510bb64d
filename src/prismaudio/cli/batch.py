"""Running generation jobs in batches: skips finished jobs, continues after a failure, writes files atomically."""

from __future__ import annotations

import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.cli.building import make_planners
from prismaudio.cli.jobs import RESULT_SUFFIXES
from prismaudio.cli.names import output_names, result_files
from prismaudio.errors import MediaError, PlanError, PrismAudioError, reason
from prismaudio.inference import PrismAudio
from prismaudio.media.files import check_writable, make_writable, portable, replacing, spare
from prismaudio.paths import expanded
from prismaudio.pretrained import check_encoders, find
from prismaudio.profiling import phase
from prismaudio.progress import Reporter
from prismaudio.untrusted import check_regular, json_text, read_small

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from prismaudio.cli.jobs import Job
    from prismaudio.inference import GeneratedAudio, Guidance
    from prismaudio.inference.pipeline import Request

COMPILE_FROM = 256
"""Videos from which compiling on a GPU takes less time than it saves."""
_REQUEST_OPTIONS = (
    *("negative_prompt", "duration", "mix", "steps", "sampler", "precision"),
    *("guidance", "guidance_rescale", "guidance_interval"),
)


class Batch:
    """Generates the audio of jobs.

    Args:
        options: The parsed command line.
        folder: Output folder; its permissions are checked at once, and it is created once the weights are valid.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        if folder.suffix.lower() in (".mp4", ".wav", ".mov", ".mkv", ".json") and not folder.is_dir():
            raise MediaError(
                f"{folder} looks like a file; expected a folder for -o, in which files are named after their video"
            )
        check_writable(folder)
        self.folder = folder
        with phase("loading"):
            model = find(options.model, options.revision)
            self.model_id, self.model_files = model.hash, list(model.paths.values())
        self.low_memory: bool = options.low_memory
        self.planners = make_planners(options.planner, options.device)
        self._model: PrismAudio | None = None

    @property
    def model(self) -> PrismAudio:
        """The model, loaded on first use."""
        if self._model is None:
            options = self.options
            with phase("loading"):
                self._model = PrismAudio.from_pretrained(
                    *(options.model, options.device, options.precision, options.revision),
                    low_memory=self.low_memory,
                    compile=options.compile,
                )
        return self._model

    def run(self, jobs: Sequence[Job]) -> int:
        """Run jobs and return the exit code."""
        with Reporter(len(jobs)) as reporter:
            waiting = []
            for job in jobs:
                if not self.options.force and self._is_done(job):
                    reporter.finish(
                        f"{job.name}: skipped, already done, see {job.output}.json (--force to generate it again)"
                    )
                else:
                    waiting.append(job)
            if waiting:
                self.low_memory |= len(waiting) == 1  # each network is used once, so that nothing is read twice
                # an unknown model or device, or a missing encoder, fails the whole command, not single jobs
                check_encoders(self.model.transformer, self.model.encoders)
                if self.options.compile == "auto" and len(waiting) >= COMPILE_FROM:
                    self.model.compile()
                if not self.low_memory:  # all weights are read and valid
                    make_writable(self.folder)
            for batch in _batched(waiting, self.options.batch_size):
                self._run_batch(batch, reporter)
        return reporter.conclude(f"{len(reporter.failures)} of {len(jobs)} failed")

    def _run_batch(self, jobs: Sequence[Job], reporter: Reporter) -> None:
        """Prepare jobs, render the prepared ones, save the rendered ones."""
        begin_s = time.monotonic()
        prepared = [(job, self._attempt(job, reporter, self._request, job)) for job in jobs]
        if self.low_memory:
            for planner in self.planners:
                planner.unload()
        ready = [(job, request) for job, request in prepared if request is not None]
        if not ready:
            return
        try:
            results = self._render([request for _, request in ready], reporter)
        except PrismAudioError:
            raise  # an option that is invalid for every job
        except Exception as error:  # noqa: BLE001 - a third-party network may raise anything
            self._run_one_by_one([job for job, _ in ready], reporter, error)
            return
        share_s = (time.monotonic() - begin_s) / len(ready)
        for (job, _), generated in zip(ready, results, strict=True):
            written = self._attempt(job, reporter, self._save, job, generated)
            if written is not None:
                for warning in generated.warnings:
                    reporter.write(f"warning: {job.name}: {warning}")
                reporter.finish(f"{job.name} -> {written} ({generated.duration_s:.2f} s of audio in {share_s:.1f} s)")

    def _run_one_by_one(self, jobs: Sequence[Job], reporter: Reporter, error: Exception) -> None:
        """Run the jobs of a failed batch one by one."""
        if len(jobs) == 1:
            reporter.fail(jobs[0].name, error)
            return
        for job in jobs:
            self._run_batch([job], reporter)

    def _request(self, job: Job) -> Request:
        if job.video is not None:
            check_regular(job.video, "a video file")
        if job.plan_file is not None:
            _plan_text(job.plan_file)
        self._check_outputs(job)
        return self.model.request(
            job.video,
            plan=job.plan or None,
            prompt=job.prompt,
            planners=self.planners,
            negative_prompt=self.options.negative_prompt,
            seed=job.seed,
            duration_s=None if job.video else self.options.duration,
            mix=self.options.mix,
        )

    def _render(self, requests: Sequence[Request], reporter: Reporter) -> list[GeneratedAudio]:
        options = self.options
        return self.model.generate_batch(
            requests,
            steps=options.steps,
            guidance=self._guidance(),
            sampler=options.sampler,
            progress=reporter.step,
        )

    def _guidance(self) -> Guidance:
        """The guidance of the model's settings, overridden by the options of the command line."""
        options = self.options
        given = {
            "scale": options.guidance,
            "rescale": options.guidance_rescale,
            "interval": options.guidance_interval and tuple(options.guidance_interval),
        }
        return replace(self.model.settings.guidance, **{k: v for k, v in given.items() if v is not None})

    def _check_outputs(self, job: Job) -> None:
        """Check that the output files of a job may be written.

        Raises:
            MediaError: They exist and are not results of this command, or they are files of the model.
        """
        result = result_files(job.output)
        for path in (*map(result.path, RESULT_SUFFIXES), result.marker):
            spare(path, self.model_files)
        result.check(force=self.options.force)

    def _save(self, job: Job, generated: GeneratedAudio) -> Path:
        """Write the output files of a job: all of them, or none."""
        result = result_files(job.output)
        suffixes = _suffixes(job, spectrogram=self.options.spectrogram)
        described = generated.describe() | {
            "video": job.video.name if job.video else None,
            "model": self._model_name(generated, job.output.parent),
            "outputs": [result.path(suffix).name for suffix in suffixes],
            "request": self._describe_request(job),
        }
        make_writable(self.folder)
        self._check_outputs(job)  # again: the files may have changed during rendering
        with phase("writing"), result.writing() as folder:
            for suffix in suffixes:
                generated.save(folder / result.path(suffix).name)
            with replacing(folder / result.marker.name) as part:
                part.write_bytes(json_text(described, indent=2))
        return result.path(suffixes[0])

    def _model_name(self, generated: GeneratedAudio, folder: Path) -> str:
        """The name of the model; a model folder is given relative to the output folder."""
        name, at, version = str(generated.settings["model"]).rpartition("@")
        is_folder = self.options.model and expanded(name).is_dir()
        return f"{portable(expanded(name), folder)}{at}{version}" if is_folder else f"{name}{at}{version}"

    def _describe_request(self, job: Job) -> dict[str, Any]:
        """Everything that the audio depends on, and the path of the video relative to the output folder."""
        plan = job.plan if job.plan_file is None else _plan_text(job.plan_file) or job.plan_file.name
        return {
            "model": self.model_id,
            "video": portable(job.video, job.output.parent) if job.video else None,
            **job.source(),
            "plan": plan,
            "prompt": job.prompt,
            "seed": job.seed,
            **{name: getattr(self.options, name) for name in _REQUEST_OPTIONS},
            "picture": self.options.spectrogram,
            **({"planners": self._planner_names()} if self.planners else {}),
        }

    def _planner_names(self) -> list[str]:
        """Class and hash of the options of each planner; options may hold paths of this machine."""
        named = []
        for text, planner in zip(self.options.planner, self.planners, strict=True):
            options = repr((text, getattr(planner, "config", None)))
            named.append(f"{type(planner).__name__}@{sha256(options.encode('utf-8', 'replace')).hexdigest()[:12]}")
        return named

    def _is_done(self, job: Job) -> bool:
        """Whether the output files of a job exist and come from the same request."""
        made = result_files(job.output).read()
        try:
            complete = made is not None and all(
                (job.output.parent / name).stat().st_size for name in output_names(made)
            )
            if made is None or not complete:
                return False
            path = {"video": made["request"].get("video")}  # a video that was moved is still the same video
            return bool(made["request"] == self._describe_request(job) | path)
        except (OSError, PlanError):
            return False

    def _attempt(self, job: Job, reporter: Reporter, action: Any, *arguments: Any) -> Any:
        """The result of ``action``, or None after reporting the failure of this job."""
        try:
            return action(*arguments)
        except Exception as error:  # noqa: BLE001 - one bad video must not stop the others
            reporter.fail(job.name, error)
            return None


def _batched(jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
    return (jobs[first : first + size] for first in range(0, len(jobs), size))


def _suffixes(job: Job, *, spectrogram: bool) -> list[str]:
    """Suffixes of the output files of a job, the main one first."""
    return [".mp4"] * (job.video is not None) + [".wav"] + [".png"] * spectrogram


def _plan_text(path: Path) -> str:
    """The text of a plan file; empty for a missing file, which is reported where the plan is parsed.

    Raises:
        PlanError: The file cannot be read.
    """
    try:
        return read_small(path).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise PlanError(f"cannot read the plan {path}: {reason(error)}; expected a text file with sections") from error
