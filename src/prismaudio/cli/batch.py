"""Running generation jobs in batches: skips finished jobs, continues after a failure, writes files atomically."""

from __future__ import annotations

import time
from collections import deque
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio import __version__
from prismaudio.cli.building import NO_PLANNER, make_planners, parse_sampler
from prismaudio.cli.jobs import RESULT_SUFFIXES
from prismaudio.cli.launching import n_cpus
from prismaudio.cli.names import output_names, result_files
from prismaudio.data.read_ahead import read_ahead
from prismaudio.errors import DataError, MediaError, PlanError, PrismAudioError, reason
from prismaudio.inference import PrismAudio
from prismaudio.inference.sampling import make_sampler
from prismaudio.media.files import check_writable, make_writable, portable, relative, replacing, spare
from prismaudio.media.threads import MediaThreads
from prismaudio.paths import expanded
from prismaudio.pretrained import check_encoders, find
from prismaudio.profiling import phase
from prismaudio.progress import Reporter
from prismaudio.untrusted import MAX_TEXT_BYTES, check_file, check_regular, json_text, load_json, read_small

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from prismaudio.cli.jobs import Job
    from prismaudio.data.read_ahead import Outcome
    from prismaudio.inference import GeneratedAudio, Guidance
    from prismaudio.inference.pipeline import Request, Unplanned

COMPILE_FROM = 256
"""Videos from which compiling on a GPU takes less time than it saves."""
_REQUEST_OPTIONS = (
    *("negative_prompt", "duration", "mix", "steps", "sampler", "precision"),
    *("guidance", "guidance_rescale", "guidance_interval"),
)


MADE_BY = "made_by"
"""Column of the manifest of results by which one is known."""
MAX_THREADS = 8
"""Threads at most that read and write files; more take the interpreter's lock from the thread that generates."""


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
        if options.manifest:
            check_manifest(expanded(options.manifest), [expanded(text) for text in options.videos])
        self.folder = folder
        with phase("loading"):
            model = find(options.model, options.revision)
            self.model_id, self.model_files = model.hash, list(model.paths.values())
        self.low_memory: bool = options.low_memory
        self.has_planner = options.planner != [NO_PLANNER]
        self.planners = make_planners(options.planner, options.device) if self.has_planner else []
        self.sampler_name: str | None = None
        self.sampler_arguments: dict[str, Any] = {}
        if options.sampler is not None:
            self.sampler_name, self.sampler_arguments = parse_sampler(options.sampler, options.steps)
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
            if not self.has_planner:
                self._model.planner = None
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
                if self.options.compile != "auto" and self.model.device.type != "cuda":
                    on = self.model.device.type
                    reporter.write(f"note: --compile {self.options.compile} has no effect on {on}, only on a GPU")
                if self.options.compile == "auto" and len(waiting) >= COMPILE_FROM and not self.low_memory:
                    self.model.compile()
                if not self.low_memory:  # all weights are read and valid
                    make_writable(self.folder)
                self._run(waiting, reporter)
        if self.options.manifest:
            write_manifest(expanded(self.options.manifest), [job for job in jobs if self._is_done(job)], self.folder)
        return reporter.conclude(f"{len(reporter.failures)} of {len(jobs)} failed")

    def _run(self, jobs: Sequence[Job], reporter: Reporter) -> None:
        """Run jobs: threads read the next videos and write finished files, while this one plans, samples and decodes.

        Everything that computes on tensors of the model is in this thread, so that no result depends on the threads.
        """
        size = self.options.batch_size
        n_threads = 0 if self.low_memory else min(len(jobs), n_cpus(), MAX_THREADS)
        finishing: deque[tuple[Job, Future[list[str]]]] = deque()
        with (
            MediaThreads(n_threads) as threads,
            closing(read_ahead([[job] for job in jobs], self._read, threads, size + 1)) as outcomes,
        ):
            try:
                begin_s = time.monotonic()
                while batch := self._next_batch(outcomes):
                    taken, results = [job for job, _ in batch], self._results([made for _, made in batch], reporter)
                    del batch  # its frames
                    share_s, begin_s = (time.monotonic() - begin_s) / len(taken), time.monotonic()
                    for job, result in zip(taken, results, strict=True):
                        finishing.append((job, threads.submit(self._finish, job, result, share_s)))
                        self._report(finishing, reporter, most_waiting=size)
            except Exception:  # such as an option that is invalid for every job; what is generated is kept
                self._report(finishing, reporter)
                raise
            self._report(finishing, reporter)

    def _next_batch(self, outcomes: Iterator[Outcome[Job, Unplanned]]) -> list[Outcome[Job, Unplanned]]:
        with phase("reading"):  # what this thread waits for it
            return list(islice(outcomes, self.options.batch_size))

    def _report(
        self, finishing: deque[tuple[Job, Future[list[str]]]], reporter: Reporter, most_waiting: int = 0
    ) -> None:
        """Report finished jobs in their order, and wait until at most ``most_waiting`` are unfinished."""
        while finishing and (len(finishing) > most_waiting or finishing[0][1].done()):
            job, finished = finishing.popleft()
            try:
                with phase("writing"):  # what this thread waits for it
                    *warnings, text = finished.result()
            except Exception as error:  # noqa: BLE001 - one bad video must not stop the others
                reporter.fail(job.name, error)
                continue
            for warning in warnings:
                reporter.write(warning)
            reporter.finish(text)

    def _results(
        self, outcomes: Sequence[Unplanned | Exception], reporter: Reporter
    ) -> list[GeneratedAudio | Exception]:
        """The audio of each job, or its error: of reading, of planning or of rendering."""
        found: list[Any] = list(outcomes)
        rows = [row for row, outcome in enumerate(found) if not isinstance(outcome, Exception)]
        planned = self.model.plan_requests([found[row] for row in rows], self.planners) if rows else []
        for row, request in zip(rows, planned, strict=True):
            found[row] = request
        if self.low_memory:
            for planner in self.planners:
                planner.unload()
        rows = [row for row in rows if not isinstance(found[row], Exception)]
        for row, result in zip(rows, self._rendered([found[row] for row in rows], reporter), strict=True):
            found[row] = result
        return found

    def _rendered(self, requests: Sequence[Request], reporter: Reporter) -> list[GeneratedAudio | Exception]:
        """Render requests together, or, if that fails, each alone.

        Raises:
            PrismAudioError: An option is invalid for every job.
        """
        if not requests:
            return []
        try:
            return [*self._render(requests, reporter)]
        except PrismAudioError:
            raise
        except Exception as error:  # noqa: BLE001 - a third-party network may raise anything
            if len(requests) == 1:
                return [error]
        return [self._rendered([request], reporter)[0] for request in requests]

    def _read(self, job: Job) -> Unplanned:
        """Read the video of a job and check what it is to be."""
        if job.video is not None:
            check_regular(job.video, "a video file")
        if job.plan_file is not None:
            _plan_text(job.plan_file)
        self._check_outputs(job)
        return self.model.read_request(
            job.video,
            plan=job.plan or None,
            prompt=job.prompt,
            negative_prompt=self.options.negative_prompt,
            seed=job.seed,
            duration_s=None if job.video else self.options.duration,
            mix=self.options.mix,
        )

    def _render(self, requests: Sequence[Request], reporter: Reporter) -> list[GeneratedAudio]:
        return self.model.generate_batch(
            requests,
            guidance=self._guidance(),
            sampler=make_sampler(self.model.sampler, self.sampler_name, self.options.steps, self.sampler_arguments),
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

    def _finish(self, job: Job, result: GeneratedAudio | Exception, share_s: float) -> list[str]:
        """Write the files of a job, and return the lines about it: warnings, and what was written."""
        if isinstance(result, Exception):
            raise result
        written = self._save(job, result)
        warnings = [f"warning: {job.name}: {warning}" for warning in result.warnings]
        return [*warnings, f"{job.name} -> {written} ({result.duration_s:.2f} s of audio in {share_s:.1f} s)"]

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
        if job.columns:
            described["columns"] = dict(job.columns)
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
            "sampler": self._describe_sampler(),  # in the place of that option
            "picture": self.options.spectrogram,
            **({"planners": self._planner_names()} if self.options.planner else {}),
        }

    def _describe_sampler(self) -> str | dict[str, Any] | None:
        """The sampler of the command line: its name, and its arguments if there are any."""
        if not self.sampler_arguments:
            return self.sampler_name
        return {"class_path": self.sampler_name, "init_args": self.sampler_arguments}

    def _planner_names(self) -> list[str]:
        """Class and hash of the options of each planner; options may hold paths of this machine."""
        if not self.has_planner:
            return [NO_PLANNER]
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


def check_manifest(file: Path, sources: Iterable[Path]) -> None:
    """Check that the manifest of the results may be written.

    Raises:
        PrismAudioError: It is no ``.jsonl``, it is one of the sources, or the file is there and
            :func:`write_manifest` did not write it.
    """
    spare(file, sources)
    if file.suffix.lower() != ".jsonl":
        raise DataError(f"--manifest {file} is no name for JSON lines; expected .jsonl")
    if file.exists():
        try:
            check_file(file)
            with file.open("rb") as opened:
                first = opened.readline(MAX_TEXT_BYTES)
            ours = not first or MADE_BY in load_json(first)
        except (OSError, ValueError, TypeError):
            ours = False
        if not ours:
            raise DataError(f"{file} exists and is no manifest of generate; choose another name")


def write_manifest(file: Path, jobs: Sequence[Job], folder: Path) -> None:
    """Write the results of jobs as a manifest for ``score``, ``extract`` and other tools.

    Args:
        file: The ``.jsonl``; its paths are relative to its folder.
        jobs: The jobs whose results are there.
        folder: The output folder, from which results are named that have no id.
    """
    rows = []
    for job in jobs:
        result = result_files(job.output)
        made = result.read() or {}
        outputs = {path.suffix: path for name in output_names(made) for path in [job.output.parent / name]}
        files = {"video": outputs.get(".mp4"), "audio": outputs.get(".wav"), "reference": job.reference}
        rows.append(
            {
                "id": relative(job.output, folder),
                **job.columns,
                **{name: relative(path, file.parent) for name, path in files.items() if path is not None},
                **{name: made[key] for name, key in (("plan", "plan_text"), ("seed", "seed"), ("model", "model"))},
                MADE_BY: f"prismaudio {__version__}",
            }
        )
    with replacing(file) as part:
        part.write_bytes(b"".join(map(json_text, rows)))


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
