"""Writes the reference pages that follow from the code: ``python tests/docs/generated.py``. The tests compare them."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import os
from pathlib import Path
from unittest import mock

from prismaudio import builtin, hookspecs
from prismaudio.cli import main as command_line
from prismaudio.registry import recipe_name

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
COMMANDS = (
    "generate",
    "plan",
    "score",
    "extract",
    "studio render",
    "bench studio",
    "bench model",
    "bench rewards",
    "bench degradation",
    "bench instruments",
    "convert",
    "export",
    "plugins list",
    "plugins check",
    "plugins new",
    "recipes list",
    "recipes show",
    "recipes copy",
    "recipes schema",
)
"""Those whose help does not depend on what is installed."""

CLI_HEAD = """\
# Command line

<!-- written by tests/docs/generated.py; a test keeps it equal to the program -->

The texts on this page are what `prismaudio COMMAND --help` prints, on Python 3.11.

Exit codes: 0; 2 for an error that you can act on, said in one line; 130 after Ctrl-C, 143 after SIGTERM.
`prismaudio plugins check` ends with 1 when a check fails.

| Variable | What it does |
|---|---|
| `PRISMAUDIO_DISABLE_PLUGINS=a,b` | leaves out plugins, by plugin or distribution name |
| `PRISMAUDIO_PLUGINS=module,file.py` | like `--plugin`, for every command |
| `PRISMAUDIO_TRACEBACK=1` | shows where an error comes from |
"""

CLI_TAIL = """
## prismaudio fit, validate, test, predict

These four are Lightning's command line: `prismaudio fit` is what a Lightning user would look for as `lightning fit`.
Their options depend on the recipe and on the plugins that are installed, so they are asked for, not printed here:

```console
$ prismaudio fit --help
$ prismaudio fit --print_config --config studio/foundation
$ prismaudio fit --model.help=FoundationTask
$ prismaudio fit --data.help=StudioDataModule
```

`--config` takes a path or the name of a recipe; it may be given more than once, later ones win. `--ckpt_path` resumes a
run: a path, or `last` for the newest `last.ckpt` in the folders of the run. See
[Write a recipe](../how-to/write-a-recipe.md).
"""

COMPONENTS_HEAD = """\
# Components

<!-- written by tests/docs/generated.py; a test keeps it equal to the hooks of the core -->

What the core provides, found through the same hooks as everybody else's. `prismaudio plugins list` shows what is there
in your environment, plugins included. The name is the word for recipes and options.
"""


def help_text(command: str) -> str:
    """What a command prints when asked for help."""
    printed = io.StringIO()
    arguments = [*command.split(), "--help"]
    quiet = contextlib.suppress(SystemExit)
    with mock.patch.dict(os.environ, {"COLUMNS": "100"}), contextlib.redirect_stdout(printed), quiet:
        command_line.main(arguments)
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


def cli_page() -> str:
    """The text of ``cli.md``."""
    parts = [CLI_HEAD, f"\n## prismaudio\n\n```text\n{help_text('')}\n```\n"]
    parts += [f"\n## prismaudio {command}\n\n```text\n{help_text(command)}\n```\n" for command in COMMANDS]
    return "".join(parts) + CLI_TAIL


def components_page() -> str:
    """The text of ``components.md``."""
    parts = [COMPONENTS_HEAD]
    for kind in hookspecs.KINDS:
        items = list(getattr(builtin, f"prismaudio_{kind}")())
        parts.append(f"\n## {kind}\n\nHook: [`prismaudio_{kind}`](hooks.md#prismaudio_{kind}).\n\n")
        if kind == "dimensions":
            rows = [f"| `{d.name}` | {d.question} |\n" for d in items]
            parts += ["| Dimension | Its section answers |\n|---|---|\n", *rows]
        elif kind == "recipes":
            files = [(recipe_name(folder, file), file) for folder in items for file in sorted(folder.rglob("*.yaml"))]
            rows = [f"| `{name}` | {first_line(file)} |\n" for name, file in files]
            parts += ["| Recipe | What it does |\n|---|---|\n", *rows]
        elif items:
            rows = [f"| `{c.name}` | {c.summary} | {c.dimension or ''} | `{c.target}` |\n" for c in items]
            parts += ["| Name | What it is | Dimension | Class |\n|---|---|---|---|\n", *rows]
        else:
            parts.append("The core has none; plugins bring them.\n")
    return "".join(parts)


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


PAGES = {"cli.md": cli_page, "components.md": components_page}

if __name__ == "__main__":
    for name, write in PAGES.items():
        (REFERENCE / name).write_text(write(), encoding="utf-8")
