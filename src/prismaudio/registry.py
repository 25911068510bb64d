"""Discovers plugins and the items that they provide, without importing any component."""

from __future__ import annotations

import functools
import importlib
import re
import sys
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from prismaudio import hookspecs, local
from prismaudio.components import Command, Component, Dimension, Pretrained
from prismaudio.errors import (
    BrokenPluginError,
    DuplicateNameError,
    PrismAudioError,
    UnknownNameError,
    one_line,
    with_class,
)
from prismaudio.local import names_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

GROUP = "prismaudio"
DISABLE_VARIABLE = "PRISMAUDIO_DISABLE_PLUGINS"
LOCAL_VARIABLE = local.VARIABLE
CORE = "prismaudio.builtin"
MAX_LISTED = 20
"""Number of names that a message about an unknown name lists."""
HOW_TO_DISABLE = f"uninstall one, or disable one with {DISABLE_VARIABLE}"
OFFICIAL = {
    "prismaudio-audiobox": (
        *("AudioboxReward", "AudioboxAesthetics"),
        *("AudioboxEnjoyment", "AudioboxUsefulness", "AudioboxComplexity"),
    ),
    "prismaudio-av-benchmark": (
        *("PannsFrechetDistance", "PannsKernelDistance", "PannsKlDivergence", "PannsInceptionScore"),
        *("PasstFrechetDistance", "PasstKernelDistance", "PasstKlDivergence", "PasstInceptionScore"),
        *("VggishFrechetDistance", "VggishKernelDistance", "ImageBindScore", "av-benchmark"),
    ),
    "prismaudio-clip": ("ClipEncoder", "XClipEncoder"),
    "prismaudio-footage": ("FootagePlanner", "FootageBenchmark", "FamilyHeard"),
    "prismaudio-laion-clap": ("LaionClapReward", "ClapScore", "SegmentClapScore"),
    "prismaudio-loudness": ("loudness", "LoudnessReward", "LoudnessMetric"),
    "prismaudio-msclap": ("MsClapReward",),
    "prismaudio-speechfree": ("speechfree", "SpeechFreeReward", "SpeechFreeShare", "SpeechClaimGate"),
    "prismaudio-studio": (
        *("studio", "StudioBenchmark", "DegradationBenchmark", "InstrumentsBenchmark", "PlanBenchmark", "CotBenchmark"),
        *("CheatsBenchmark", "CodecBenchmark", "StudioSuite"),
        *("StudioDataModule", "RecordingsDataModule", "AutoencoderFittingTask", "PlannerFittingTask", "EventDescriber"),
        *(
            "EventPlanner",
            "StudioPlanner",
            "HashedTextEncoder",
            "MotionGridEncoder",
            "PlanGridEncoder",
            "ParametricStereoAutoencoder",
        ),
        *("SemanticReward", "ClassAccuracy", "NoiseFloorAdherence", "LateEnergyAdherence"),
    ),
    "prismaudio-stereocrw": ("StereoCrwReward", "CrwMse"),
    "prismaudio-synchformer": ("SynchformerReward", "DeSync", "SynchformerEncoder"),
    "prismaudio-t5gemma": ("T5GemmaEncoder",),
    "prismaudio-timm": ("TimmEncoder",),
    "prismaudio-videoprism": ("VideoPrismEncoder",),
    "prismaudio-vlm": ("VlmPlanner", "LlmPlanner", "ApiPlanner", "prompts"),
    "prismaudio-yamnet": (
        "YamnetReward",
        "YamnetFrechetDistance",
        "YamnetKernelDistance",
        "YamnetKlDivergence",
        "YamnetInceptionScore",
        "YamnetProbability",
    ),
}
"""Names that the project's own plugin distributions provide, for messages about one that is not installed."""
DEPENDS = {"prismaudio-studio": ("prismaudio-footage",)}
"""Distributions of the project that others of them need."""

Item = Component | Dimension | Pretrained | Command | Path
"""Types of the items that hooks return."""


@dataclass(frozen=True)
class Plugin:
    """A plugin: a module with hooks, installed or local.

    Args:
        name: Name of its entry point, or of its module if it is local.
        module: The module with its hooks.
        distribution: The distribution that installs it; None for a local module.
        version: Version of the distribution.
        status: ``"ok"``, ``"broken"`` or ``"disabled"``.
        error: The error of a broken plugin.
    """

    name: str
    module: str
    distribution: str | None = None
    version: str | None = None
    status: str = "ok"
    error: str = ""

    def __str__(self) -> str:
        return f"{self.name!r} ({self.distribution or 'local'})"


@dataclass(frozen=True)
class Entry:
    """One item that a plugin provides.

    Args:
        kind: One of :data:`prismaudio.hookspecs.KINDS`.
        name: Its name in recipes and options.
        item: The item that the hook returned; for recipes the path of the YAML file.
        plugin: The plugin that provides it.
    """

    kind: str
    name: str
    item: Item
    plugin: Plugin


def plugin_folders(distribution: str) -> list[str]:
    """The folders of a clone from which a distribution of the project is installed: its own, and what it depends on.

    Example:
        >>> plugin_folders("prismaudio-studio")
        ['plugins/prismaudio-footage', 'plugins/prismaudio-studio']
    """
    return [f"plugins/{name}" for name in (*DEPENDS.get(distribution, ()), distribution)]


@dataclass
class Registry:
    """The plugins of this environment and the items that they provide.

    Args:
        plugins: All plugins, sorted by name, including broken and disabled ones.
        entries: Items of the working plugins, in the order of the plugins.
    """

    plugins: list[Plugin] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def names(self, kind: str) -> list[str]:
        """Unique names of the items of a kind, in the order of the plugins."""
        return list(dict.fromkeys(entry.name for entry in self.entries if entry.kind == kind))

    def find(self, kind: str, name: str) -> Entry:
        """The entry of that name.

        Raises:
            UnknownNameError: No plugin provides it; the message suggests the nearest names, or what to install.
            DuplicateNameError: More than one plugin provides it.
        """
        found = [entry for entry in self.entries if (entry.kind, entry.name) == (kind, name)]
        if not found:
            raise UnknownNameError(f"no {kind[:-1]} is named {name!r}; {self.advice(name, self.names(kind))}")
        if len(found) > 1:
            raise DuplicateNameError(clash_text(found))
        return found[0]

    def components(self) -> list[tuple[str, Component]]:
        """Kind and component of every provided class."""
        return [(entry.kind, entry.item) for entry in self.entries if isinstance(entry.item, Component)]

    def dimensions(self) -> list[Dimension]:
        """All perceptual dimensions, those of the core first."""
        found = [self.find("dimensions", name).item for name in self.names("dimensions")]
        return [item for item in found if isinstance(item, Dimension)]

    def sections(self) -> list[str]:
        """Names of the sections that plans may have: those of the dimensions, the core's first."""
        return [dimension.name for dimension in self.dimensions()]

    def load(self, kind: str, name: str) -> Any:
        """Import the class of a component, or the function of a command.

        Raises:
            BrokenPluginError: The import fails.
        """
        entry = self.find(kind, name)
        if not isinstance(entry.item, (Component, Command)):
            loadable = [*hookspecs.CONTRACTS, "commands"]
            raise UnknownNameError(f"{kind} are not classes; expected one of {', '.join(loadable)}")
        module, _, attribute = entry.item.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise BrokenPluginError(
                f"{name} of plugin {entry.plugin} cannot be imported: {_describe_error(error)}; "
                f"run prismaudio plugins check {entry.plugin.name}"
            ) from error

    def advice(self, name: str, known: Iterable[str]) -> str:
        """Advice about an unknown name: the nearest names, or the distribution to install."""
        from difflib import get_close_matches  # only needed for errors

        known = list(known)
        source = {provided: distribution for distribution, names in OFFICIAL.items() for provided in names}
        near = get_close_matches(name, dict.fromkeys([*known, *source]), n=2)
        official = [n for n in near if n in source and n not in known]
        if name in official:
            text = self.install_hint(source[name])
        elif near:
            text = f"did you mean {' or '.join(map(repr, near))}?"
            text += f" {official[0]!r}: {self.install_hint(source[official[0]])}" if official else ""
        else:
            listed = f"known: {', '.join(known) or 'none'}"
            text = listed if len(known) <= MAX_LISTED else "prismaudio plugins list shows the names"
        broken = [str(p) for p in self.plugins if p.status == "broken" and str(p.distribution) not in text]
        if broken:
            text += f"; broken plugins may provide it: {', '.join(broken)}, see prismaudio plugins list"
        return text

    @staticmethod
    def provider(name: str) -> str | None:
        """The project's own distribution that provides this name; None if there is none."""
        return next((distribution for distribution, names in OFFICIAL.items() if name in names), None)

    def install_hint(self, distribution: str) -> str:
        """Why a distribution of the project is not usable here, and how to install it."""
        for plugin in self.plugins:
            if plugin.distribution == distribution and plugin.status != "ok":
                return f"plugin {plugin} provides it but is {plugin.status} {plugin.error}".strip()
        return f"to install it, run in a clone: pip install {' '.join(plugin_folders(distribution))}"

    def clash(self, entry: Entry) -> str:
        """The message about other entries of the same name; empty if the name is unique."""
        same = [other for other in self.entries if (other.kind, other.name) == (entry.kind, entry.name)]
        return clash_text(same) if len(same) > 1 else ""


def discover() -> Registry:
    """Discover the installed plugins and the local ones of ``--plugin`` or ``PRISMAUDIO_PLUGINS``; cached.

    A broken installed plugin is part of the result, with its error; a broken local one raises, because the user
    requested it.

    Raises:
        PrismAudioError: prismaudio itself is not installed, so no plugin can be found.
        BrokenPluginError: A local plugin cannot be loaded.
    """
    return discovered(
        tuple(names_in(DISABLE_VARIABLE)), tuple(names_in(LOCAL_VARIABLE)), str(Path.cwd()), tuple(sys.path)
    )


@functools.cache
def discovered(disabled: tuple[str, ...], local_names: tuple[str, ...], folder: str, _: tuple[str, ...]) -> Registry:
    """See :func:`discover`.

    Args:
        disabled: Names of disabled plugins.
        local_names: Local plugins.
        folder: The working directory, in which local plugins are searched.
        _: The module search path, part of the cache key.
    """
    pluggy_manager = pluggy.PluginManager(GROUP)
    pluggy_manager.add_hookspecs(hookspecs)
    registry = Registry()
    for found in installed_plugins(disabled):
        plugin, entries = _read_hooks(found, pluggy_manager) if found.status == "ok" else (found, [])
        registry.plugins.append(plugin)
        registry.entries += entries
    for module in local_names:
        found = local_plugin(module, folder)
        if any(found.module == other.module and other.status == "ok" for other in registry.plugins):
            continue
        plugin, entries = _read_hooks(found, pluggy_manager)
        if plugin.status != "ok":
            raise BrokenPluginError(f"local plugin {module!r} cannot be loaded: {plugin.error}")
        registry.plugins.append(plugin)
        registry.entries += entries
    return registry


def installed_plugins(disabled: Collection[str]) -> list[Plugin]:
    """The plugins of all entry points, not imported yet: the core first, the others sorted by name."""
    points = sorted(entry_points(group=GROUP), key=lambda point: (point.value != CORE, point.name, point.value))
    if not any(point.value == CORE for point in points):
        raise PrismAudioError(
            "prismaudio is not installed in this environment: it has no entry point, so no plugin can be found; "
            "run pip install -e . in its folder"
        )
    plugins = []
    for point in points:
        distribution, version = (point.dist.name, point.dist.version) if point.dist else (None, None)
        off = bool({*disabled} & {point.name, distribution})
        plugins.append(Plugin(point.name, point.value, distribution, version, "disabled" if off else "ok"))
    for at, plugin in enumerate(plugins):
        rivals = [other for other in plugins if other.name == plugin.name and other.status != "disabled"]
        if plugin in rivals and len(rivals) > 1:
            names = " and ".join(str(rival.distribution) for rival in rivals)
            error = f"clash: {names} both name their plugin {plugin.name!r}; {HOW_TO_DISABLE} by distribution name"
            plugins[at] = replace(plugin, status="broken", error=error)
    return plugins


def local_plugin(name: str, folder: str) -> Plugin:
    """A plugin that is not installed: a module in the working directory or on the path, or a ``.py`` file."""
    module = local.module_name(name)
    if module is not None:
        return Plugin(module.rpartition(".")[2], module)
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that no file of the folder shadows a standard module
    return Plugin(name, name)


def _read_hooks(plugin: Plugin, pluggy_manager: pluggy.PluginManager) -> tuple[Plugin, list[Entry]]:
    """Import a plugin's module and call its hooks; a plugin that raises is broken and provides no entries."""
    try:
        module = importlib.import_module(plugin.module)
        bare = [name for name in vars(module) if name.startswith("prismaudio_") and not is_marked(module, name)]
        if bare:
            raise BrokenPluginError(f"{bare[0]} lacks @hookimpl")
        if plugin.distribution is None and plugin.module in sys.stdlib_module_names:
            raise BrokenPluginError(
                f"it is a standard module of Python; for the file in this folder write {plugin.name}.py"
            )
        if is_file(plugin):
            local.add_to_path(module)
        pluggy_manager.register(module, plugin.module)
        pluggy_manager.check_pending()
        entries = [entry for kind in hookspecs.KINDS for entry in read_entries(kind, plugin, pluggy_manager)]
    except (Exception, SystemExit) as error:  # noqa: BLE001  (the other plugins must keep working)
        if pluggy_manager.has_plugin(plugin.module):
            pluggy_manager.unregister(name=plugin.module)
        return replace(plugin, status="broken", error=_describe_error(error)), []
    return plugin, entries


def is_marked(module: ModuleType, name: str) -> bool:
    """Whether an attribute named like a hook has ``@hookimpl``, or is not a function at all."""
    value = getattr(module, name)
    return not isinstance(value, FunctionType) or hasattr(value, "prismaudio_impl")


def is_file(plugin: Plugin) -> bool:
    """Whether a plugin is a single ``.py`` file."""
    return plugin.module.startswith(f"{local.__name__}.")


def read_entries(kind: str, plugin: Plugin, pluggy_manager: pluggy.PluginManager) -> Iterator[Entry]:
    """Call a plugin's hook of a kind, and check and yield its items as entries."""
    hook = getattr(pluggy_manager.hook, f"prismaudio_{kind}")
    expected = hookspecs.ITEMS[kind]
    for implementation in hook.get_hookimpls():
        if implementation.plugin_name != plugin.module:
            continue
        items: Iterable[Any] = implementation.function()
        for item in items:
            if not isinstance(item, expected) or not isinstance(item, Item):
                raise BrokenPluginError(f"prismaudio_{kind}() must return {expected.__name__}s, not {item!r}")
            if isinstance(item, Path):
                yield from (Entry(kind, recipe_name(item, file), file, plugin) for file in sorted(item.rglob("*.yaml")))
                continue
            check_item(item)
            yield Entry(kind, item.name, resolve_target(item, plugin), plugin)


def check_item(item: Component | Dimension | Pretrained | Command) -> None:
    """Check the name and the import path of an item.

    Raises:
        BrokenPluginError: One of them is malformed.
    """
    if isinstance(item, (Component, Command)) and not re.fullmatch(r"[\w.]+:[A-Za-z_]\w*", item.target):
        raise BrokenPluginError(f"target {item.target!r} must look like 'package.module:ClassName'")
    if isinstance(item, Dimension) and not re.fullmatch(r"[a-z][a-z0-9_]*", item.name):
        raise BrokenPluginError(f"dimension {item.name!r} must be one lower-case word")
    if isinstance(item, (Pretrained, Command)) and not re.fullmatch(r"[a-z][a-z0-9-]*", item.name):
        raise BrokenPluginError(f"{type(item).__name__} {item.name!r} must be one lower-case word, which may contain -")


def resolve_target(item: Component | Dimension | Pretrained | Command, plugin: Plugin) -> Item:
    """The item with its target rewritten to the actual module name, if its plugin is a single file."""
    if is_file(plugin) and isinstance(item, (Component, Command)):
        module, _, attribute = item.target.partition(":")
        if module == Path(str(sys.modules[plugin.module].__file__)).stem:
            return replace(item, target=f"{plugin.module}:{attribute}")
    return item


def recipe_name(folder: Path, file: Path) -> str:
    """Name of a recipe: ``smoke/loudness`` for ``smoke/loudness.yaml`` in a plugin's folder."""
    return file.relative_to(folder).with_suffix("").as_posix()


def clash_text(rivals: Sequence[Entry]) -> str:
    """Who claims one name, and what to do."""
    owners = " and ".join(str(entry.plugin) for entry in rivals)
    return f"{rivals[0].kind[:-1]} {rivals[0].name!r} comes from both {owners}; {HOW_TO_DISABLE}"


def _describe_error(error: BaseException) -> str:
    """One line about an error in the code of a plugin."""
    if isinstance(error, pluggy.PluginValidationError):
        return f"it requires a newer version of prismaudio: {one_line(error)}"
    return with_class(error)
