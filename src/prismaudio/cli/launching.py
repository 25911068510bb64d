"""Ranks of processes that share work without talking to each other: from a launcher, or started on this machine."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from prismaudio.cli.arguments import whole
from prismaudio.cli.termination import Terminated
from prismaudio.errors import PrismAudioError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),  # torchrun
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),  # srun; a batch script has SLURM_NTASKS alone
)
"""Variables of the environment with the rank, the number of ranks, and the rank on this machine, by launcher."""
POLL_S = 0.1


@dataclass(frozen=True)
class Place:
    """Which of several processes this one is.

    Args:
        rank: Its number, from 0.
        world: Number of processes.
        local_rank: Its number among those of this machine; None if no launcher started it.
    """

    rank: int = 0
    world: int = 1
    local_rank: int | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Place:
        """The place that torchrun or srun states in the environment; the only process without a launcher.

        Raises:
            PrismAudioError: The variables are not numbers, or the rank is not below the number of ranks.

        Example:
            >>> Place.of({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"})
            Place(rank=3, world=8, local_rank=1)
            >>> Place.of({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"})
            Place(rank=0, world=1, local_rank=None)
        """
        for names in LAUNCHERS:
            if not all(environment.get(name) for name in names[:2]):
                continue
            stated = " ".join(f"{name}={environment[name]}" for name in names if name in environment)
            try:
                rank, world, local = (int(environment.get(name) or -1) for name in names)
            except ValueError:
                rank, world, local = 0, 0, 0
            if not 0 <= rank < world:
                raise PrismAudioError(
                    f"the environment states {stated}; expected a rank from 0 and a larger number of ranks: unset "
                    "these variables, or say --part I/N"
                )
            return cls(rank, world, local if local >= 0 else None)
        return cls()

    def device(self, name: str) -> str:
        """The device of this process: the GPU of its local rank for ``auto`` or ``cuda``, else the named one."""
        if self.local_rank is None or name not in ("auto", "cuda"):
            return name
        import torch

        return f"cuda:{self.local_rank % torch.cuda.device_count()}" if torch.cuda.is_available() else name


def part(text: str) -> Place:
    """Argument type of a part, ``I/N``, of the work of N processes.

    Example:
        >>> part("2/8")
        Place(rank=1, world=8, local_rank=None)
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    number, total = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= total:
        raise argparse.ArgumentTypeError(f"{text!r} is not a part; expected I/N such as 1/4, with I from 1 to N")
    return Place(number - 1, total)


def add_processes(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that share the clips of a command between processes, and return their group."""
    group = parser.add_argument_group("processes")
    group.add_argument(
        "--part", type=part, metavar="I/N",
        help="process only part I of N, for N processes or cluster jobs (default: as torchrun or srun says)",
    )  # fmt: skip
    group.add_argument(
        "--devices", type=whole(1, 1024), default=1, metavar="N", help="start N processes, one for each GPU"
    )
    group.add_argument(
        "--workers", type=whole(0, 1024), default=2, metavar="N",
        help="threads that read clips ahead; 0 to read without threads (default: %(default)s)",
    )  # fmt: skip
    return group


def check_processes(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Check that the options of :func:`add_processes` go together.

    Raises:
        PrismAudioError: They do not.
    """
    if options.part and options.devices > 1:
        parser.error("--part and --devices exclude each other; --devices gives each of its processes a part")


def shared_place(command: Sequence[str], argv: Sequence[str], options: argparse.Namespace) -> Place | None:
    """The place of this process; None if ``--devices`` asked for several, which have done the work.

    Args:
        command: The words of the command.
        argv: Its arguments.
        options: The same, parsed.
    """
    place = Place.of(os.environ) if options.part is None else options.part
    if options.devices == 1:
        return place
    end = list(argv).index("--") if "--" in argv else len(argv)
    run_processes([*command, *argv[:end], "--devices", "1", *argv[end:]], options.devices, place)
    return None


def run_processes(arguments: Sequence[str], n_processes: int, place: Place) -> None:
    """Run a command of ``prismaudio`` in several processes of this machine and print their lines with a prefix.

    SIGINT and SIGTERM are passed on. A process that dies does not stop the others.

    Args:
        arguments: The command and its arguments.
        n_processes: Number of processes.
        place: The place of this process, which the new ones take together.

    Raises:
        PrismAudioError: A process failed; its line is printed when it does.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, when all processes have ended.
    """
    world = n_processes * place.world
    threads = str(max(1, n_cpus() // n_processes))
    failures: list[str] = []
    running: dict[int, subprocess.Popen[str]] = {}
    with ExitStack() as stack, _passing_on(running):
        for local_rank in range(n_processes):
            rank = place.rank * n_processes + local_rank
            ranks = {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(local_rank)}
            process = subprocess.Popen(  # noqa: S603 - the same command
                [sys.executable, "-P", "-m", "prismaudio", *arguments],
                env={"OMP_NUM_THREADS": threads, **os.environ, **ranks},
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="backslashreplace",
                start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on
            )
            stack.enter_context(process)
            running[rank] = process
            copying = threading.Thread(target=_copy_lines, args=(process.stderr, f"[{rank + 1}/{world}] "))
            copying.start()
            stack.callback(copying.join)
        while running:
            for rank in [rank for rank, process in running.items() if process.poll() is not None]:
                if code := running.pop(rank).returncode:
                    failures.append(f"{rank + 1}/{world} {_why(code)}")
                    sys.stderr.write(f"process {failures[-1]}{'; the others go on' if running else ''}\n")
            time.sleep(POLL_S)
    if failures:
        raise PrismAudioError(
            f"{len(failures)} of {n_processes} processes failed: {', '.join(failures)}; run the same command again: "
            "what is done is not done again"
        )


def n_cpus() -> int:
    """Number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _copy_lines(lines: IO[str] | None, prefix: str) -> None:
    for line in lines or ():
        sys.stderr.write(prefix + line)
        sys.stderr.flush()


def _why(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was killed by signal {-code} ({signal.Signals(-code).name})"


@contextmanager
def _passing_on(running: Mapping[int, subprocess.Popen[str]]) -> Iterator[None]:
    """Pass SIGINT or SIGTERM on to processes and wait for them; a second signal kills them."""
    try:
        yield
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt) and not isinstance(error, Terminated)
        processes = list(running.values())
        try:
            for process in processes:
                process.send_signal(signal.SIGINT if interrupted else signal.SIGTERM)
            for process in processes:
                process.wait()
        finally:
            for process in processes:
                process.kill()
        raise
