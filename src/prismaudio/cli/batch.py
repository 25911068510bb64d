"""Running jobs in batches: skip what is done, go on after a failure, write whole files only."""

from __future__ import annotations

import json
import os
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.cli.progress import Reporter
from prismaudio.errors import MediaError, PrismAudioError
from prismaudio.generation import PrismAudio
from prismaudio.generation.loading import find, fingerprint
from prismaudio.media import make_writable, replacing

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from prismaudio.cli.jobs import Job
    from prismaudio.generation import Guidance, Sound
    from prismaudio.generation.facade import Request

_ASKED = (
    *("negative_prompt", "duration", "mix", "steps", "sampler", "precision", "picture"),
    *("guidance", "guidance_rescale", "guidance_interval"),
)


class Batch:
    """Makes the sounds of jobs.

    Args:
        options: The command line.
        folder: Where results go; it is made now, so that nothing is rendered that cannot be written.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        if folder.suffix.lower() in (".mp4", ".wav", ".mov", ".mkv", ".json") and not folder.is_dir():
            raise MediaError(f"{folder} looks like a file; -o wants a folder, and files are called like their video")
        make_writable(folder)
        self.model_id = fingerprint(find(options.model))
        self._model: PrismAudio | None = None
        self.failures: list[str] = []

    @property
    def model(self) -> PrismAudio:
        """The model, loaded when it is first needed."""
        if self._model is None:
            options = self.options
            self._model = PrismAudio.from_pretrained(options.model, options.device, options.precision)
        return self._model

    def run(self, jobs: Sequence[Job]) -> list[str]:
        """Run jobs.

        Returns:
            One line for each failure.
        """
        with Reporter(len(jobs)) as reporter:
            waiting = []
            for job in jobs:
                if not self.options.force and self._is_done(job):
                    reporter.finish(f"{job.name}: already done, see {job.output}.json (--force makes it again)")
                else:
                    waiting.append(job)
            if waiting:
                self.model  # noqa: B018 - an unknown model or device is nobody's failure but the whole command's
            for some in _batched(waiting, self.options.batch_size):
                self._run_together(some, reporter)
        return self.failures

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
                for notice in sound.notices:
                    reporter.say(f"notice: {job.name}: {notice}")
                reporter.finish(f"{job.name} -> {written} ({sound.duration_s:.2f} s of sound in {share_s:.1f} s)")

    def _run_alone(self, jobs: Sequence[Job], reporter: Reporter, error: Exception) -> None:
        """Run jobs one by one, after they failed together."""
        if len(jobs) == 1:
            self._fail(jobs[0], reporter, error)
            return
        for job in jobs:
            self._run_together([job], reporter)

    def _request(self, job: Job) -> Request:
        return self.model.request(
            job.video,
            plan=job.plan or None,
            prompt=job.prompt,
            negative_prompt=self.options.negative_prompt,
            seed=job.seed,
            duration_s=None if job.video else self.options.duration,
            mix=self.options.mix,
        )

    def _render(self, requests: Sequence[Request], reporter: Reporter) -> list[Sound]:
        options = self.options
        return self.model.fulfil(
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

    def _save(self, job: Job, sound: Sound) -> Path:
        """Write the files of a job; the JSON comes last and says that the job is done."""
        files = _files(job, picture=self.options.picture)
        described = sound.describe() | {"outputs": [file.name for file in files], "request": self._asked(job)}
        try:
            for file in files:
                sound.save(file)
            with replacing(_marker(job)) as part:
                part.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except BaseException:  # a full disk, or Ctrl-C: all files of a sound, or none
            for file in files:
                file.unlink(missing_ok=True)
            raise
        return files[0]

    def _asked(self, job: Job) -> dict[str, Any]:
        """All that the sound depends on."""
        source = job.video.stat() if job.video and job.video.is_file() else None
        plan = job.plan
        if plan and "<" not in plan and Path(plan).is_file():
            plan = Path(plan).read_text(encoding="utf-8", errors="replace")
        return {
            "model": self.model_id,
            "video": str(job.video.resolve()) if job.video else None,
            "video_size": source.st_size if source else None,
            "video_time": source.st_mtime if source else None,
            "plan": plan,
            "prompt": job.prompt,
            "seed": job.seed,
            **{name: getattr(self.options, name) for name in _ASKED},
        }

    def _is_done(self, job: Job) -> bool:
        """Whether the files of a job are there and were made by the same request."""
        try:
            made = json.loads(_marker(job).read_text(encoding="utf-8"))
            whole = all((job.output.parent / name).stat().st_size for name in made["outputs"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return bool(whole and made.get("request") == self._asked(job))

    def _attempt(self, job: Job, reporter: Reporter, action: Any, *arguments: Any) -> Any:
        """What ``action`` returns, or None after a failure of this job."""
        try:
            return action(*arguments)
        except Exception as error:  # noqa: BLE001 - one bad video must not stop the others
            self._fail(job, reporter, error)
            return None

    def _fail(self, job: Job, reporter: Reporter, error: Exception) -> None:
        if os.environ.get("PRISMAUDIO_TRACEBACK"):
            traceback.print_exception(error)
        text = " ".join(str(error).split())
        text = text if isinstance(error, PrismAudioError) else f"{type(error).__name__}: {text}"
        text = text if str(job.name) in text else f"{job.name}: {text}"
        self.failures.append(text)
        if reporter.total > 1:
            reporter.finish(f"failed: {text}")


def _batched(jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
    return (jobs[first : first + size] for first in range(0, len(jobs), size))


def _files(job: Job, *, picture: bool) -> list[Path]:
    """The files of a job, the most important first."""
    suffixes = [".mp4"] * (job.video is not None) + [".wav"] + [".png"] * picture
    return [job.output.with_name(job.output.name + suffix) for suffix in suffixes]


def _marker(job: Job) -> Path:
    return job.output.with_name(f"{job.output.name}.json")
