"""Writes the reference pages that follow from the code: ``python tests/docs/generated.py``. The tests compare them.

The pages describe the core, prismaudio-studio and prismaudio-footage, which it needs; other plugins are disabled.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import os
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from unittest import mock

import prismaudio
from prismaudio import hookspecs, testing
from prismaudio.cli import main as command_line
from prismaudio.registry import recipe_name

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
SOURCES = {
    "prismaudio": "prismaudio.builtin",
    "prismaudio-studio": "prismaudio_studio",
    "prismaudio-footage": "prismaudio_footage",
}
"""The distributions whose components and commands are on the pages, and the modules of their hooks."""
COMMANDS = {
    "prismaudio": (
        "generate",
        "plan",
        "score",
        "evaluate",
        "evaluate strategies",
        "evaluate video-encoders",
        "evaluate text-encoders",
        "evaluate caches",
        "evaluate report",
        "listen",
        "suite build",
        "suite missing",
        "extract",
        "cot build",
        "cot inspect",
        "estimate",
        "bench",
        "bench model",
        "bench train",
        "bench rewards",
        "bench update",
        "convert",
        "export",
        "push",
        "plugins list",
        "plugins check",
        "plugins new",
        "recipes list",
        "recipes show",
        "recipes copy",
        "recipes schema",
    ),
    "prismaudio-studio": (
        "studio render",
        "studio recordings",
        "studio teach",
        "bench studio",
        "bench plan",
        "bench cot",
        "bench degradation",
        "bench cheats",
        "bench instruments",
        "bench codec",
    ),
    "prismaudio-footage": ("bench footage",),
}
"""Those whose help does not depend on a recipe."""

CLI_HEAD = """\
# Command line

<!-- written by tests/docs/generated.py; a test keeps it equal to the program -->

The texts on this page are what `prismaudio COMMAND --help` prints, on Python 3.11, where the core and
[`prismaudio-studio`](../explanation/studio-model.md), which needs `prismaudio-footage`, are installed. The line above
each text names the distribution.
Other plugins may bring [commands](hooks.md#prismaudio_commands) and [benchmarks](hooks.md#prismaudio_benchmarks).

Exit codes: 0; 2 for an error that you can act on, reported in one line; 130 after Ctrl-C, 143 after SIGTERM.
`prismaudio plugins check` exits with 1 when a check fails.

| Variable | What it does |
|---|---|
| `PRISMAUDIO_CACHE=DIR` | where prepared inputs, answers and compiled code are kept, instead of `~/.cache/prismaudio` |
| `PRISMAUDIO_DISABLE_PLUGINS=a,b` | disables plugins, by plugin or distribution name |
| `PRISMAUDIO_PLUGINS=module,file.py` | like `--plugin`, for every command |
| `PRISMAUDIO_TRACEBACK=1` | shows where an error comes from |
"""

CLI_TAIL = """
## prismaudio fit, validate

These two are subcommands of LightningCLI. Their options depend on the recipe and on the installed plugins, so they
are not listed here; print them with

```console
$ prismaudio fit --help
$ prismaudio fit --print_config --config smoke/foundation
$ prismaudio fit --model.help=FoundationTask
$ prismaudio fit --data.help=ManifestDataModule
```

`--config` takes a path, the name of a recipe or `<(command)`; it may be repeated, and later recipes are
[merged into earlier ones](../how-to/write-a-recipe.md#change-a-recipe-without-copying-it).
`--ckpt_path` resumes a run: a path, or `last` for the newest `last.ckpt` in the folders of the run. See
[Write a recipe](../how-to/write-a-recipe.md).
"""

COMPONENTS_HEAD = """\
# Components

<!-- written by tests/docs/generated.py; a test keeps it equal to the hooks -->

What the core, `prismaudio`, `prismaudio-studio` and `prismaudio-footage` provide, found through the same hooks as all
plugins.
`prismaudio plugins list` shows the components of your environment, including other plugins. Recipes and options use the
name; the column *From* is the distribution to install.
"""

API_HEAD = """\
# Python API

<!-- written by tests/docs/generated.py; a test keeps it equal to the code -->

What `from prismaudio import …` gives, the contracts and the types that cross them, what recipes name, and what plugins
build on: whatever the official plugins import is on this page. Everything else is an implementation:
[Components](components.md) lists those of the core and of the studio.
"""

API: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "Pipeline": ("", ("prismaudio.inference",), ()),
    "Tasks": (
        "",
        ("prismaudio.training",),
        ("prismaudio.training.schedule",),
    ),
    "Reinforcement learning": (
        "The hook [`prismaudio_training_parts`](hooks.md#prismaudio_training_parts) provides further classes.",
        ("prismaudio.training.grpo",),
        (
            "prismaudio.flow.kernels",
            "prismaudio.samplers.rollout",
            "prismaudio.training.grpo.windows",
            "prismaudio.training.grpo.advantages",
            "prismaudio.training.grpo.losses",
            "prismaudio.training.grpo.divergence",
            "prismaudio.training.grpo.weighting",
            "prismaudio.training.grpo.reward_weights",
        ),
    ),
    "Callbacks": (
        "",
        ("prismaudio.training.callbacks",),
        (
            "prismaudio.training.callbacks.ema",
            "prismaudio.training.callbacks.listening",
            "prismaudio.training.callbacks.held_out",
        ),
    ),
    "Data": ("", ("prismaudio.data",), ("prismaudio.data.synthetic",)),
    "Types": ("", ("prismaudio.types",), ("prismaudio.types",)),
    "Plans": ("", ("prismaudio.plan",), ()),
    "What hooks return": ("", ("prismaudio.components",), ("prismaudio.components",)),
    "Rewards": ("", ("prismaudio.rewards",), ()),
    "Metrics and scores": (
        "",
        ("prismaudio.metrics", "prismaudio.evaluation", "prismaudio.scorers"),
        (
            "prismaudio.metrics.features",
            "prismaudio.metrics.networks",
            "prismaudio.metrics.itd",
            "prismaudio.scorers",
            "prismaudio.evaluation.av_benchmark",
            "prismaudio.evaluation.intervals",
        ),
    ),
    "Encoders": ("", ("prismaudio.encoders", "prismaudio.models.conditioners"), ()),
    "Planners and gates": ("", ("prismaudio.planners", "prismaudio.cot"), ()),
    "Samplers": ("", ("prismaudio.samplers",), ()),
    "Autoencoders and networks": ("", ("prismaudio.autoencoders", "prismaudio.models"), ()),
    "Benchmarks": ("", ("prismaudio.benchmarks",), ()),
    "Checks of components": (
        "What a plugin's tests call; [Write and check a plugin](../how-to/write-a-plugin.md) shows how.",
        ("prismaudio.testing",),
        (),
    ),
    "Measuring audio": (
        "",
        ("prismaudio.audio",),
        (
            "prismaudio.audio.onsets",
            "prismaudio.audio.interaural",
            "prismaudio.audio.level",
            "prismaudio.audio.recording",
            "prismaudio.audio.loudness",
        ),
    ),
    "Media files": ("", ("prismaudio.media",), ()),
    "Weights and model folders": (
        "",
        (
            "prismaudio.checkpoints",
            "prismaudio.downloads",
            "prismaudio.pretrained",
            "prismaudio.weight_files",
            "prismaudio.weight_folders",
        ),
        (),
    ),
    "Tools for plugins": (
        "",
        (
            "prismaudio.devices",
            "prismaudio.hyperparameters",
            "prismaudio.paths",
            "prismaudio.progress",
            "prismaudio.registry",
            "prismaudio.untrusted",
        ),
        (),
    ),
    "Errors": ("", ("prismaudio.errors",), ("prismaudio.errors",)),
}
"""Sections of ``api.md``: introduction, packages whose public names are there, and modules that are there whole."""

API_TAIL = """
## The studio

From the distribution `prismaudio-studio`, the module `prismaudio_studio`.

::: prismaudio_studio.narration.narrate

::: prismaudio_studio.planner.event.EventPlanner

::: prismaudio_studio.fitting.AutoencoderFittingTask

::: prismaudio_studio.datamodule.StudioDataModule
"""


def help_text(command: str) -> str:
    """The help text of a command, with only the plugins of the pages."""
    printed = io.StringIO()
    arguments = [*command.split(), "--help"]
    quiet = contextlib.suppress(SystemExit)
    others = [point.name for point in entry_points(group="prismaudio") if point.value not in SOURCES.values()]
    variables = {"COLUMNS": "100", "PRISMAUDIO_DISABLE_PLUGINS": ",".join(others), "PRISMAUDIO_PLUGINS": ""}
    with mock.patch.dict(os.environ, variables), contextlib.redirect_stdout(printed), quiet:
        command_line.main(arguments)
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


def cli_page() -> str:
    """The text of ``cli.md``."""
    parts = [CLI_HEAD, f"\n## prismaudio\n\n```text\n{help_text('')}\n```\n"]
    for distribution, commands in COMMANDS.items():
        for command in commands:
            text = f"From `{distribution}`.\n\n```text\n{help_text(command)}\n```\n"
            parts.append(f"\n## prismaudio {command}\n\n{text}")
    return "".join(parts) + CLI_TAIL


def provided(kind: str) -> list[tuple[str, Any]]:
    """What the hooks of a kind return, and the distribution that each is from."""
    found: list[tuple[str, Any]] = []
    for distribution, module in SOURCES.items():
        hook = getattr(importlib.import_module(module), f"prismaudio_{kind}", tuple)
        found += [(distribution, item) for item in hook()]
    return found


def components_page() -> str:
    """The text of ``components.md``."""
    parts = [COMPONENTS_HEAD]
    for kind in hookspecs.KINDS:
        parts.append(f"\n## {kind}\n\nHook: [`prismaudio_{kind}`](hooks.md#prismaudio_{kind}).\n\n")
        heads, rows = kind_table(kind)
        table = [f"| {' | '.join(cells)} |\n" for cells in (heads, *rows)]
        parts += [table[0], f"|{'---|' * len(heads)}\n", *table[1:]]
    return "".join(parts)


def kind_table(kind: str) -> tuple[list[str], list[list[str]]]:
    """The heads and the rows of the table of a kind."""
    items = provided(kind)
    if kind == "dimensions":
        heads = ["Dimension", "Its section answers", "From"]
        return heads, [[f"`{item.name}`", item.question, source] for source, item in items]
    if kind == "recipes":
        files = [(source, folder, file) for source, folder in items for file in sorted(folder.rglob("*.yaml"))]
        rows = [[f"`{recipe_name(folder, file)}`", first_line(file), source] for source, folder, file in files]
        return ["Recipe", "What it does", "From"], rows
    if kind == "models":
        rows = [[f"`{item.name}`", item.summary, source, f"`{place(item.source)}`"] for source, item in items]
        return ["Name", "What it is", "From", "Where"], rows
    if kind == "commands":
        rows = [[f"`{item.name}`", item.summary, source, f"`{item.target}`"] for source, item in items]
        return ["Command", "What it does", "From", "Function"], rows
    if any(item.dimension for _, item in items):
        rows = [[f"`{i.name}`", i.summary, i.dimension or "", source, f"`{i.target}`"] for source, i in items]
        return ["Name", "What it is", "Dimension", "From", "Class"], rows
    return ["Name", "What it is", "From", "Class"], [
        [f"`{i.name}`", i.summary, source, f"`{i.target}`"] for source, i in items
    ]


def api_page() -> str:
    """The text of ``api.md``."""
    parts, names = [API_HEAD], public_names()
    for title, (intro, _, modules) in API.items():
        parts.append(f"\n## {title}\n" + f"\n{intro}\n" * bool(intro))
        own = [name for name in names if name.rpartition(".")[0] not in modules and _section(name) == title]
        parts += [f"\n::: {name}\n" for name in (*sorted(own), *modules)]
    return "".join(parts) + API_TAIL


def public_names() -> set[str]:
    """Qualified names of the public classes and functions of the core.

    They are what the package exports, the contracts of components and their checks, and what the official plugins
    import.
    """
    contracts = [target.split(":") for target in hookspecs.CONTRACTS.values() if target.startswith("prismaudio.")]
    exported = [(prismaudio, prismaudio.__all__), (testing, testing.__all__)]
    exported += [(importlib.import_module(module), [name]) for module, name in contracts]
    for file in REFERENCE.parents[1].glob("plugins/*/src/**/*.py"):
        imports = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
        for node in imports:
            package, *rest = (node.module or "").split(".")
            if package == "prismaudio" and rest[:1] != ["cli"]:
                exported.append((importlib.import_module(node.module or ""), [alias.name for alias in node.names]))
    found = [getattr(module, name) for module, names in exported for name in names]
    return {
        f"{item.__module__}.{item.__qualname__}"
        for item in found
        if (inspect.isclass(item) or inspect.isfunction(item)) and item.__module__.startswith("prismaudio.")
    }


def _section(name: str) -> str:
    """The section of a name: that of the longest package that it is in."""
    places = [(package, title) for title, (_, packages, _) in API.items() for package in packages]
    within = [(len(package), title) for package, title in places if name.startswith(f"{package}.")]
    if not within:
        raise LookupError(f"{name} is public and in no section of API; add its package to one")
    return max(within)[1]


def place(source: Path | str) -> str:
    """Where a model is: on the hub, or in which folder of a package."""
    return source if isinstance(source, str) else f"{source.parent.name}/{source.name}"


def first_line(file: Path) -> str:
    """What a recipe says of itself."""
    return file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ").replace("|", r"\|")


def hook_signatures() -> dict[str, str]:
    """For each hook its exact signature, as it is written."""
    tree = ast.parse(inspect.getsource(hookspecs))
    hooks = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {
        n.name: f"def {n.name}({ast.unparse(n.args)}) -> {ast.unparse(n.returns or ast.Constant(None))}" for n in hooks
    }


PAGES = {"cli.md": cli_page, "components.md": components_page, "api.md": api_page}

if __name__ == "__main__":
    for name, write in PAGES.items():
        (REFERENCE / name).write_text(write(), encoding="utf-8")
