"""The ``prismaudio`` command: dispatches to a subcommand before any heavy import."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from prismaudio.cli.termination import EXIT_CODE, Terminated, terminating
from prismaudio.errors import PrismAudioError, UnknownNameError, print_traceback, truncated

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS = {
    "generate": ("prismaudio.cli.generate:main", "generate audio for a silent video"),
    "plan": ("prismaudio.cli.plan:main", "write the plan of a video to an editable file"),
    "score": ("prismaudio.cli.score:main", "score audio with the installed rewards and metrics"),
    "evaluate": ("prismaudio.cli.evaluate:main", "compare systems on a suite of clips, with intervals"),
    "listen": ("prismaudio.cli.listen:main", "make a blind listening test of systems, and collect its answers"),
    "suite": ("prismaudio.cli.suite:main", "build a benchmark from clips with labels and links"),
    "extract": ("prismaudio.cli.extract:main", "compute latents and features of clips for training"),
    "cot": ("prismaudio.cli.cot:main", "build chain-of-thought data for the clips of a manifest"),
    "fit": ("prismaudio.cli.fit:fit", "train from a recipe (the fit command of LightningCLI)"),
    "validate": ("prismaudio.cli.fit:validate", "evaluate a checkpoint on the validation clips of a recipe"),
    "estimate": ("prismaudio.cli.estimate:main", "estimate memory, operations, storage and hours of a recipe"),
    "bench": ("prismaudio.cli.bench:main", "run the benchmark of a model, of rewards or of a plugin"),
    "convert": ("prismaudio.cli.convert:main", "convert a published checkpoint to a model folder"),
    "export": ("prismaudio.cli.export:main", "export a checkpoint of fit as a model folder"),
    "push": ("prismaudio.cli.push:main", "upload a model folder to the Hugging Face hub, with a model card"),
    "plugins": ("prismaudio.cli.plugins:main", "list, check and create plugins"),
    "recipes": ("prismaudio.cli.recipes:main", "list, show and copy recipes; write their JSON schema"),
}
"""Function of each subcommand, ``(argv) -> exit code``, and its line in the help."""

VARIABLES = ("PRISMAUDIO_CACHE", "PRISMAUDIO_DISABLE_PLUGINS", "PRISMAUDIO_PLUGINS", "PRISMAUDIO_TRACEBACK")
"""The environment variables that are read; those of a plugin begin with ``PRISMAUDIO_`` and its name."""
OF_LIGHTNING = {
    "test": "prismaudio validate evaluates a checkpoint on the validation clips of a recipe, and on the test clips "
    "of a manifest with --data.validation_split test; prismaudio score measures audio that was generated",
    "predict": "prismaudio export makes a model folder of a checkpoint, prismaudio generate --model FOLDER its audio",
}
"""Commands of other programs of Lightning, and what does their work here."""

USAGE = "usage: prismaudio [--version] [--help] [--plugin MODULE] COMMAND ..."


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        argv: Arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0, 2 for an error that the user can act on, 130 after Ctrl-C, or 143 after SIGTERM.
    """
    return run_reporting_errors(lambda: dispatch(list(sys.argv[1:] if argv is None else argv)))


def run_reporting_errors(command: Callable[[], int]) -> int:
    """Run a command and report its errors as one line.

    Args:
        command: Returns an exit code.

    Returns:
        That exit code, or the exit code of an error, see :func:`main`.
    """
    escape_unencodable()
    try:
        with terminating():
            return command()
    except PrismAudioError as error:
        return fail(error, str(error))
    except BrokenPipeError:  # `prismaudio plugins list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return fail(error, str(error))
    except Terminated:
        sys.stderr.write("prismaudio: terminated\n")
        return EXIT_CODE
    except KeyboardInterrupt:
        sys.stderr.write("prismaudio: interrupted\n")
        return 130


def escape_unencodable() -> None:
    """Escape characters that the terminal's encoding lacks, and file names that are not valid text."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def dispatch(argv: list[str]) -> int:
    """Handle the general options in ``argv`` and call the subcommand."""
    for word in argv:
        if "\0" in word:
            raise PrismAudioError(f"the argument {word[:80]!r} contains a NUL byte; remove it")
    argv = take_local_plugins(argv)
    warn_of_unknown_variables()
    command = argv[0] if argv else None
    if command in ("-h", "--help", "help"):
        sys.stdout.write(help_text())
        return 0
    if command in ("-V", "--version"):
        from prismaudio import __version__

        sys.stdout.write(f"prismaudio {__version__}\n")
        return 0
    if command is None:
        sys.stderr.write(help_text())
        return 2
    if command not in COMMANDS:
        return load_plugin_command(command)(argv[1:]) or 0
    module, _, function = COMMANDS[command][0].partition(":")
    return int(getattr(import_module(module), function)(argv[1:]) or 0)


def warn_of_unknown_variables() -> None:
    """Warn of environment variables that look like ours and are not read."""
    unknown = [name for name in os.environ if name.upper().startswith("PRISMAUDIO_") and name not in VARIABLES]
    if not unknown or os.environ.get("LOCAL_RANK", "0") != "0":
        return
    from difflib import get_close_matches

    from prismaudio.registry import discover

    prefixes = tuple(f"PRISMAUDIO_{plugin.name.upper().replace('-', '_')}_" for plugin in discover().plugins)
    for name in unknown:
        if not name.startswith(prefixes):
            near = get_close_matches(name.upper(), VARIABLES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(VARIABLES)}"
            sys.stderr.write(f"warning: the environment variable {truncated(name, 80)} is not read; {hint}\n")


def load_plugin_command(command: str) -> Callable[[list[str]], int | None]:
    """Load the function that runs a command of a plugin.

    Raises:
        UnknownNameError: No plugin provides the command.
    """
    from prismaudio.registry import discover

    registry = discover()
    known = registry.names("commands")
    if command in OF_LIGHTNING and command not in known:
        raise UnknownNameError(f"there is no command {command!r}; {OF_LIGHTNING[command]}")
    if command not in known:
        raise UnknownNameError(f"there is no command {command!r}; {registry.advice(command, [*COMMANDS, *known])}")
    return registry.load("commands", command)


def take_local_plugins(argv: list[str]) -> list[str]:
    """Move each ``--plugin MODULE`` to an environment variable, which worker processes inherit."""
    rest, local = [], []
    words = iter(argv)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == "--plugin":
            if (module := next(words, None)) is None:
                raise UnknownNameError("--plugin has no value; expected the name of a module, or a .py file")
            local.append(module)
        elif word.startswith("--plugin="):
            local.append(word.partition("=")[2])
        else:
            rest.append(word)
    if local:
        known = os.environ.get("PRISMAUDIO_PLUGINS", "").split(",")
        os.environ["PRISMAUDIO_PLUGINS"] = ",".join(dict.fromkeys(filter(None, known + local)))
    return rest


def help_text() -> str:
    """The text of ``prismaudio --help``."""
    from prismaudio.components import Command
    from prismaudio.registry import discover

    lines = [USAGE, "", "Video-to-audio generation with chain-of-thought planning.", "", "commands:"]
    lines += [f"  {name:10} {summary}" for name, (_, summary) in COMMANDS.items()]
    commands = [entry.item for entry in discover().entries if entry.kind == "commands"]
    lines += [f"  {item.name:10} {item.summary}" for item in commands if isinstance(item, Command)]
    lines += [
        "",
        "options:",
        "  --plugin MODULE  load a plugin that is not installed: a module in this folder, or a .py file",
        "  --version        print the version",
        "",
        "Run prismaudio COMMAND --help for its options. Set PRISMAUDIO_TRACEBACK=1 to print the traceback of an error.",
    ]
    return "\n".join(lines) + "\n"


def fail(error: BaseException, text: str) -> int:
    """Print an error as one line."""
    print_traceback(error)
    sys.stderr.write(f"prismaudio: error: {truncated(' '.join(text.split()))}\n")
    return 2
