"""Running jobs in batches: skip what is done, go on after a failure, write whole files only."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.cli.jobs import RESULT_SUFFIXES
from prismaudio.cli.names import files_of, outputs_of
from prismaudio.errors import MediaError, PlanError, PrismAudioError, reason
from prismaudio.inference import PrismAudio
from prismaudio.media.files import check_writable, make_writable, portable, replacing, spare
from prismaudio.paths import expanded
from prismaudio.pretrained import FILES, find_folder, folder_hash
from prismaudio.progress import Reporter
from prismaudio.untrusted import check_regular, json_text, read_small

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from prismaudio.cli.jobs import Job
    from prismaudio.inference import GeneratedAudio, Guidance
    from prismaudio.inference.pipeline import Request

_ASKED = (
    *("negative_prompt", "duration", "mix", "steps", "sampler", "precision", "picture"),
    *("guidance", "guidance_rescale", "guidance_interval"),
)


class Batch:
    """Makes the sounds of jobs.

    Args:
        options: The command line.
        folder: Where results go; whether they can be written is seen now, and it is made when the model is there.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        if folder.suffix.lower() in (".mp4", ".wav", ".mov", ".mkv", ".json") and not folder.is_dir():
            raise MediaError(f"{folder} looks like a file; -o wants a folder, and files are called like their video")
        check_writable(folder)
        self.folder = folder
        model = find_folder(options.model)
        self.model_id, self.model_files = folder_hash(model), [model / name for name in FILES]
        self._model: PrismAudio | None = None

    @property
    def model(self) -> PrismAudio:
        """The model, loaded when it is first needed."""
        if self._model is None:
            options = self.options
            self._model = PrismAudio.from_pretrained(options.model, options.device, options.precision)
        return self._model

    def run(self, jobs: Sequence[Job]) -> int:
        """Run jobs, and give the exit code."""
        with Reporter(len(jobs)) as reporter:
            waiting = []
            for job in jobs:
                if not self.options.force and self._is_done(job):
                    reporter.finish(f"{job.name}: already done, see {job.output}.json (--force makes it again)")
                else:
                    waiting.append(job)
            if waiting:
                self.model  # noqa: B018 - an unknown model or device is nobody's failure but the whole command's
                make_writable(self.folder)
            for some in _batched(waiting, self.options.batch_size):
                self._run_together(some, reporter)
        return reporter.conclude(f"{len(reporter.failures)} of {len(jobs)} failed")

    def _run_together(self, jobs: Sequence[Job], reporter: Reporter) -> None:
        """Prepare jobs, render those that could be prepared, save those that could be rendered."""
        begin_s = time.monotonic()
        prepared = [(job, self._attempt(job, reporter, self._request, job)) for job in jobs]
        ready = [(job, request) for job, request in prepared if request is not None]
        if not ready:
            return
        try:
            sounds = self._render([request for _, request in ready], reporter)
        except PrismAudioError:
            raise  # an option that no job could be rendered with
        except Exception as error:  # noqa: BLE001 - a network of somebody else's may raise anything
            self._run_alone([job for job, _ in ready], reporter, error)
            return
        share_s = (time.monotonic() - begin_s) / len(ready)
        for (job, _), sound in zip(ready, sounds, strict=True):
            written = self._attempt(job, reporter, self._save, job, sound)
            if written is not None:
                for warning in sound.warnings:
                    reporter.say(f"notice: {job.name}: {warning}")
                reporter.finish(f"{job.name} -> {written} ({sound.duration_s:.2f} s of sound in {share_s:.1f} s)")

    def _run_alone(self, jobs: Sequence[Job], reporter: Reporter, error: Exception) -> None:
        """Run jobs one by one, after they failed together."""
        if len(jobs) == 1:
            reporter.fail(jobs[0].name, error)
            return
        for job in jobs:
            self._run_together([job], reporter)

    def _request(self, job: Job) -> Request:
        if job.video is not None:
            check_regular(job.video, "a video file")
        if job.plan_file is not None:
            _plan_text(job.plan_file)
        self._check_places(job)
        return self.model.request(
            job.video,
            plan=job.plan or None,
            prompt=job.prompt,
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
        """The model's own guidance, but for what the command line says."""
        options = self.options
        asked = {
            "scale": options.guidance,
            "rescale": options.guidance_rescale,
            "interval": options.guidance_interval and tuple(options.guidance_interval),
        }
        return replace(self.model.settings.guidance, **{k: v for k, v in asked.items() if v is not None})

    def _check_places(self, job: Job) -> None:
        """See that the files of a job may be written.

        Raises:
            MediaError: They are somebody else's, or files of the model.
        """
        result = files_of(job.output)
        for path in (*map(result.path, RESULT_SUFFIXES), result.marker):
            spare(path, self.model_files)
        result.check(force=self.options.force)

    def _save(self, job: Job, sound: GeneratedAudio) -> Path:
        """Write the files of a job: all of them, or none."""
        result = files_of(job.output)
        suffixes = _suffixes(job, picture=self.options.picture)
        described = sound.describe() | {
            "video": job.video.name if job.video else None,
            "model": self._model_name(sound, job.output.parent),
            "outputs": [result.path(suffix).name for suffix in suffixes],
            "request": self._asked(job),
        }
        self._check_places(job)  # again, for rendering takes long
        with result.writing() as folder:
            for suffix in suffixes:
                sound.save(folder / result.path(suffix).name)
            with replacing(folder / result.marker.name) as part:
                part.write_bytes(json_text(described, indent=2))
        return result.path(suffixes[0])

    def _model_name(self, sound: GeneratedAudio, folder: Path) -> str:
        """The name of the model; a folder is named as seen from the results."""
        name, at, version = str(sound.settings["model"]).rpartition("@")
        is_folder = self.options.model and expanded(name).is_dir()
        return f"{portable(expanded(name), folder)}{at}{version}" if is_folder else f"{name}{at}{version}"

    def _asked(self, job: Job) -> dict[str, Any]:
        """All that the sound depends on; and where its video is, seen from the results."""
        plan = job.plan if job.plan_file is None else _plan_text(job.plan_file) or job.plan_file.name
        return {
            "model": self.model_id,
            "video": portable(job.video, job.output.parent) if job.video else None,
            **job.source(),
            "plan": plan,
            "prompt": job.prompt,
            "seed": job.seed,
            **{name: getattr(self.options, name) for name in _ASKED},
        }

    def _is_done(self, job: Job) -> bool:
        """Whether the files of a job are there and were made by the same request."""
        made = files_of(job.output).read()
        try:
            whole = made is not None and all((job.output.parent / name).stat().st_size for name in outputs_of(made))
            if made is None or not whole:
                return False
            where = {"video": made["request"].get("video")}  # the same file is the same, wherever it is now
            return bool(made["request"] == self._asked(job) | where)
        except (OSError, PlanError):
            return False

    def _attempt(self, job: Job, reporter: Reporter, action: Any, *arguments: Any) -> Any:
        """What ``action`` returns, or None after a failure of this job."""
        try:
            return action(*arguments)
        except Exception as error:  # noqa: BLE001 - one bad video must not stop the others
            reporter.fail(job.name, error)
            return None


def _batched(jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
    return (jobs[first : first + size] for first in range(0, len(jobs), size))


def _suffixes(job: Job, *, picture: bool) -> list[str]:
    """Of the files of a job, the most important first."""
    return [".mp4"] * (job.video is not None) + [".wav"] + [".png"] * picture


def _plan_text(path: Path) -> str:
    """What a plan's file says; nothing if there is no such file, which is said where the plan is read.

    Raises:
        PlanError: It cannot be read.
    """
    try:
        return read_small(path).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise PlanError(f"cannot read the plan {path}: {reason(error)}; expected a text file with sections") from error
