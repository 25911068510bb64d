"""``prismaudio plugins``: list, check and create plugins. Imports no torch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from prismaudio.cli.arguments import Parser
from prismaudio.cli.plugin_new import SCORER_KINDS, TEMPLATE_KINDS, new_plugin, next_steps
from prismaudio.components import Command, Component, Dimension, Pretrained
from prismaudio.registry import Entry, Plugin, Registry, discover

COLUMNS = ("kind", "name", "summary", "distribution", "status")


def main(argv: list[str]) -> int:
    """Run ``prismaudio plugins``."""
    parser = Parser("prismaudio plugins", description="List what plugins provide, check a plugin, or create one.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser(
        "list", help="list dimensions, components, models, commands and recipes, and broken plugins"
    )
    listing.add_argument("--json", action="store_true", help="print JSON")
    check = commands.add_parser("check", help="import and check each component of a plugin in a separate process")
    check.add_argument("name", nargs="+", help="name of a plugin, of a distribution, or of one component")
    new = commands.add_parser("new", help="write a small working plugin as a starting point")
    new.add_argument("name", help="name such as room-tone; the folder is then prismaudio-room-tone")
    new.add_argument(
        "--dimension",
        metavar="NAME",
        help="the dimension that a reward or metric scores and a planner writes, installed or new",
    )
    new.add_argument(
        "--kind",
        action="append",
        choices=TEMPLATE_KINDS,
        help="kind of component to write; may be repeated (default: a reward and a metric)",
    )
    new.add_argument(
        "--output",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="parent of the plugin's folder; by default the working directory",
    )
    options = parser.parse_args(argv)
    registry = discover()
    if options.command == "new":
        folder = new_plugin(registry, options.name, options.dimension, options.kind or SCORER_KINDS, options.output)
        sys.stdout.write(f"wrote {folder}; next: {next_steps(folder)}\n")
        return 0
    if options.command == "check":
        from prismaudio.cli.plugin_check import check_plugins

        return check_plugins(registry, options.name)
    rows = list_rows(registry)
    sys.stdout.write(json.dumps(rows, indent=1) + "\n" if options.json else table(rows))
    return 0


def list_rows(registry: Registry) -> list[dict[str, Any]]:
    """One row for each entry, then one for each plugin that is broken or disabled."""
    rows = [entry_row(entry, registry.clash(entry)) for entry in registry.entries]
    idle = [plugin for plugin in registry.plugins if plugin.status != "ok"]
    return rows + [row("plugins", p.name, p.module, "", None, p, p.status, p.error) for p in idle]


def entry_row(entry: Entry, clash: str) -> dict[str, Any]:
    """The row of one entry."""
    item = entry.item
    status = "clash" if clash else "ok"
    if isinstance(item, Component):
        fields = row(entry.kind, entry.name, item.target, item.summary, item.dimension, entry.plugin, status, clash)
        if item.stream is not None:
            fields |= {"stream": item.stream.name, "dim": item.stream.dim, "rate_hz": item.stream.rate_hz}
        return fields
    if isinstance(item, Dimension):
        target = entry.plugin.module
        return row(entry.kind, entry.name, target, item.question, entry.name, entry.plugin, status, clash)
    if isinstance(item, (Command, Pretrained)):
        target = item.target if isinstance(item, Command) else str(item.source)
        return row(entry.kind, entry.name, target, item.summary, None, entry.plugin, status, clash)
    return row(entry.kind, entry.name, str(item), recipe_summary(item), None, entry.plugin, status, clash)


def row(
    kind: str, name: str, target: str, summary: str, dimension: str | None, plugin: Plugin, status: str, error: str
) -> dict[str, Any]:
    """A row of the table and of the JSON."""
    return {
        "kind": kind,
        "name": name,
        "target": target,
        "summary": summary,
        "dimension": dimension,
        "stream": None,
        "dim": None,
        "rate_hz": None,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": status,
        "error": error or None,
    }


def recipe_summary(path: Path) -> str:
    """The comment in the first line of a recipe, its summary."""
    with path.open(encoding="utf-8", errors="replace") as file:
        line = file.readline().strip()
    return line.lstrip("# ") if line.startswith("#") else ""


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as text, one block for each kind; an error follows its row."""
    lines = []
    for kind in dict.fromkeys(r["kind"] for r in rows):
        lines.append(kind)
        block = [r for r in rows if r["kind"] == kind]
        width = max(len(r["name"]) for r in block)
        for r in block:
            mark = "" if r["status"] == "ok" else f"  [{r['status']}]"
            lines.append(f"  {r['name']:{width}}  {r['summary']}  ({r['distribution'] or 'local'}){mark}")
            if r["error"]:
                lines.append(f"  {'':{width}}  {r['error']}")
    return "\n".join(lines) + "\n"
