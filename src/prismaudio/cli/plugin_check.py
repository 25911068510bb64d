"""``prismaudio plugins check``: checks every component of a plugin in a separate process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING

from prismaudio.components import Command, Component, Dimension, Pretrained
from prismaudio.errors import PlanError, UnknownNameError
from prismaudio.registry import Entry, Plugin, Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 900.0
MAX_PROCESSES = 4
"""Maximum number of components that are checked at a time; each takes up to some gigabytes."""


def check_plugins(registry: Registry, names: Sequence[str]) -> int:
    """Check everything that plugins provide and print the results.

    Args:
        registry: The installed plugins.
        names: Names of plugins, of distributions, or of components.

    Returns:
        1 if a check failed, else 0.

    Raises:
        UnknownNameError: A name is that of nothing.
    """
    named = [_named(registry, name) for name in names]
    n_failed = 0
    with ThreadPoolExecutor(min(MAX_PROCESSES, os.cpu_count() or 1)) as pool:
        checks = pool.map(check_entry, [entry for _, entries in named for entry in entries])
        for plugins, entries in named:
            n_failed += sum(not report_plugin(plugin) for plugin in plugins)
            for entry in entries:
                report = {"clash": f"FAIL {clash}"} if (clash := registry.clash(entry)) else {}
                report |= next(checks)
                n_failed += sum(text.startswith("FAIL ") for text in report.values())
                sys.stdout.write(f"{entry.kind} {entry.name}\n")
                sys.stdout.write("".join(f"  {check:10}  {text}\n" for check, text in report.items()))
                sys.stdout.flush()
    sys.stdout.write(f"{n_failed} failed\n" if n_failed else "all checks passed\n")
    return 1 if n_failed else 0


def _named(registry: Registry, name: str) -> tuple[list[Plugin], list[Entry]]:
    """The plugins of a name, and what they provide; or the components of that name."""
    spelled = name.replace("-", "_")  # pip takes either
    plugins = [
        plugin
        for plugin in registry.plugins
        if spelled in (plugin.name.replace("-", "_"), (plugin.distribution or "").replace("-", "_"))
    ]
    entries = [entry for entry in registry.entries if entry.plugin in plugins or entry.name == name]
    if not plugins and not entries:
        known = dict.fromkeys(n for p in registry.plugins for n in (p.name, p.distribution) if n)
        raise UnknownNameError(f"no plugin or component is named {name!r}; {registry.advice(name, known)}")
    return plugins, entries


def report_plugin(plugin: Plugin) -> bool:
    """Print the status of a plugin; return False if it is broken or disabled."""
    bad = plugin.status != "ok"
    text = f"  FAIL {plugin.status} {plugin.error}".rstrip() if bad else ""
    sys.stdout.write(f"plugin {plugin} {plugin.version or ''}{text}\n")
    return not bad


def check_entry(entry: Entry) -> dict[str, str]:
    """Results of the checks of one entry of a plugin."""
    if isinstance(entry.item, (Component, Command, Pretrained)):
        summary = entry.item.summary
        one_line = bool(summary.strip()) and "\n" not in summary
        report = {"summary": summary if one_line else "FAIL the summary must be one line"}
        if isinstance(entry.item, Pretrained):
            return report | check_model(entry.item)
        return report | check_component(entry.item, entry.kind)
    if isinstance(entry.item, Dimension):
        return check_dimension(entry.item)
    first = entry.item.read_text(encoding="utf-8").partition("\n")[0]
    return {
        "header": first
        if first.startswith("# ")
        else "FAIL the first line must be a comment that summarises the recipe"
    }


def check_dimension(dimension: Dimension) -> dict[str, str]:
    """Check the question of a dimension, and the prompt that it brings."""
    from prismaudio.planners.prompts import SectionPrompt

    question = dimension.question
    is_question = question.strip().endswith("?")
    report = {"question": question if is_question else f"FAIL {question!r} is not a question; it must end with ?"}
    if dimension.prompt is not None:
        try:
            report["prompt"] = f"version {SectionPrompt.of(dimension).version} in {dimension.prompt.name}"
        except PlanError as error:
            report["prompt"] = f"FAIL {error}"
    return report


def check_model(model: Pretrained) -> dict[str, str]:
    """Check that the folder of a model exists; models on the hub are not downloaded."""
    if isinstance(model.source, str):
        return {"source": f"{model.source} on the hub"}
    there = (model.source / "config.json").is_file() and (model.source / "model.safetensors").is_file()
    return {"source": str(model.source) if there else f"FAIL {model.source} has no config.json and model.safetensors"}


def check_component(component: Component | Command, kind: str) -> dict[str, str]:
    """Check a component in a separate process."""
    command = [sys.executable, "-P", "-m", "prismaudio.testing.component", kind, component.target]
    if isinstance(component, Component) and component.stream is not None:
        command.append(json.dumps(asdict(component.stream)))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # includes the folder of a local plugin
    try:
        done = subprocess.run(  # noqa: S603  (the command is ours)
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return {"import": f"FAIL the checks take more than {TIMEOUT_S:.0f} s"}
    try:
        report: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or [""])[-1]
        return {"import": f"FAIL the process ended with code {done.returncode}: {last}"}
    return report
