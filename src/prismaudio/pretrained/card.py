"""The model card of a model folder: the page that a hub shows, with metadata that it searches."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from prismaudio import __version__
from prismaudio.errors import CheckpointError, DataError, first_of, one_line, reason
from prismaudio.registry import OFFICIAL, plugin_folders
from prismaudio.untrusted import load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MARK = "<!-- Written by prismaudio push, which replaces this text; without this line it keeps the text. -->"
"""A line of the cards that are written here; a text without it was written by somebody."""
TAGS = ("prismaudio", "video-to-audio", "flow-matching")
REFERENCES = ("truth", "codec", "shuffled", "matmul")
"""Rows of benchmarks that are not measurements of a model, such as the best and the worst possible values."""
_SECRET = re.compile(
    r"(^|[_-])(api_?keys?|key|token|secrets?|passwords?|auth|authorization|credentials?)$", re.IGNORECASE
)
"""Names of options whose values are not shown."""
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]+@|\b(hf|sk)[_-][\w-]{8,}")
"""Users and passwords in addresses, and what looks like a key."""
_PLACES = re.compile(r"(?:(?<==)|(?<=\bfile://))[/~]\S*/")
"""Folders inside a value, such as an option of another program."""
_TRAINER = ("max_steps", "max_epochs", "precision", "devices", "num_nodes", "strategy", "gradient_clip_val")
"""Settings of the trainer that a card shows; the others say where files of the run are."""


@dataclass(frozen=True)
class ModelPart:
    """A component of a model.

    Args:
        name: Its name in the model folder.
        kind: Name of its class.
        parameters: Number of its parameters; None for a component without weights.
        dtypes: Data types in which they are stored.
        files: Where its own files are, if it has any: a folder, or ``owner/name`` on the hub.
    """

    name: str
    kind: str
    parameters: int | None = None
    dtypes: tuple[str, ...] = ()
    files: str | None = None


@dataclass(frozen=True)
class Known:
    """What a model folder says about a model.

    Args:
        parts: The components.
        packages: Versions of the packages that provide their classes.
        local: Names of classes of local plugins, which are in no package.
        facts: More, for a table: value by name.
        fingerprint: Hash of the files.
    """

    parts: Sequence[ModelPart]
    packages: Mapping[str, str]
    local: Sequence[str]
    facts: Mapping[str, str]
    fingerprint: str


@dataclass(frozen=True)
class Results:
    """Measured values.

    Args:
        name: Name of the file.
        what: What was measured, such as the number of files.
        rows: Value and standard deviation, None if there is none, by measure by row.
        model: The model that was measured, ``name@fingerprint``; None if the file does not say.
    """

    name: str
    what: str
    rows: Mapping[str, Mapping[str, tuple[float, float | None]]]
    model: str | None = None


@dataclass(frozen=True)
class About:
    """What a model folder itself does not say about a model.

    Args:
        licence: Identifier of the licence, such as ``"apache-2.0"``; None if it is not known.
        base_models: Models on the hub that it was made of.
        datasets: Data sets on the hub that it was trained on.
        results: Files with results, of ``prismaudio score --json`` or ``prismaudio bench --json``, or an object of
            numbers.
        recipe: The recipe of the run that wrote the model, as YAML states it; None if it is not known.
    """

    licence: str | None = None
    base_models: Sequence[str] = ()
    datasets: Sequence[str] = ()
    results: Sequence[Path] = ()
    recipe: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Card:
    """A model card.

    Args:
        text: Markdown, after metadata in YAML.
        licence: The licence that the metadata state; None if they state none.
        unknown: What is left out because it is not known, and the option that states it.
    """

    text: str
    licence: str | None
    unknown: Sequence[str]


def read_results(path: Path) -> Results:
    """Read a file with results.

    Raises:
        DataError: It cannot be read, or has another form.
    """
    expected = "expected the JSON of prismaudio score or prismaudio bench, or an object of numbers"
    try:
        text = read_small(path).decode()
        try:
            found = load_json(text)
        except ValueError:  # lines of JSON, of which the last one has the summary
            found = load_json(text.strip().rpartition("\n")[2])
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({one_line(error, 100)}); {expected}") from error
    try:
        results = _results(path.name, found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} has another form; {expected}") from error
    if not any(math.isfinite(value) for row in results.rows.values() for value, _ in row.values()):
        raise DataError(f"{path} has no measured value; {expected}")
    return results


def _results(name: str, found: Mapping[str, Any]) -> Results:
    if "rows" in found:
        meta = found.get("meta") or {}
        rows = {
            row: {column: (float(cell["mean"]), cell.get("sd") or None) for column, cell in cells.items() if cell}
            for row, cells in found["rows"].items()
        }
        settings = {key: value for key, value in meta.items() if isinstance(value, int | str) and key != "model"}
        what = ", ".join(f"{key} {value}" for key, value in list(settings.items())[:6])
        return Results(name, what, rows, str(meta["model"]) if "model" in meta else None)
    if "all" in found:
        measured = {
            measure: (float(entry["value"]), entry.get("sd") or None)
            for measure, entry in found["all"].items()
            if entry.get("value") is not None
        }
        return Results(name, f"{found['files']} {'file' if found['files'] == 1 else 'files'}", {"": measured})
    return Results(name, "", {"": {key: (float(value), None) for key, value in found.items()}})


def write_card(repository: str, known: Known, about: About, existing: str | None = None) -> Card:
    """Write the card of a model, or complete the metadata of a card that somebody wrote.

    Args:
        repository: ``owner/name`` on the hub.
        known: What the folder says.
        about: What the folder does not say.
        existing: The text of a card that is kept, without :data:`MARK`; its metadata are completed.

    Raises:
        CheckpointError: The metadata of the existing card are damaged.
        DataError: A file with results cannot be read.
    """
    from huggingface_hub import ModelCard, ModelCardData

    results = [read_results(path) for path in about.results]
    title = repository.rpartition("/")[2]
    data = ModelCardData(
        base_model=list(about.base_models) or None,
        datasets=list(about.datasets) or None,
        eval_results=[entry for result in results for entry in _index(result)] or None,
        library_name="prismaudio",
        license=about.licence,
        model_name=title if results else None,
        pipeline_tag="video-to-audio",
        tags=list(TAGS),
    ).to_dict()
    if existing is None:
        body = "\n".join(_body(repository, known, about, results))
    else:
        try:
            kept = ModelCard(existing if existing.lstrip().startswith("---") else f"---\n{{}}\n---\n{existing}")
            stated = kept.data.to_dict()
        except Exception as error:  # of the client, of YAML
            raise CheckpointError(
                f"the metadata of the README.md of {repository} are not valid: {one_line(error, 200)}"
            ) from error
        body = kept.text.strip("\n") + "\n"
        given = {"license": about.licence, "base_model": about.base_models, "datasets": about.datasets}
        stays = {key for key, value in (*given.items(), ("model-index", results)) if value}
        data |= {key: value for key, value in stated.items() if value and key not in stays}
    stated = {key: value for key, value in data.items() if value}
    if not isinstance(stated.get("license", ""), str):
        raise CheckpointError(
            f"the README.md of {repository} states the licence {stated['license']!r}; expected one identifier"
        )
    options = {
        "license": "the licence (--license ID)",
        "base_model": "the base model (--base-model ID)",
        "datasets": "the data (--dataset ID)",
        "model-index": "results (--results FILE)",
    }
    unknown = [text for key, text in options.items() if key not in stated]
    if about.recipe is None and existing is None:
        unknown.append("the recipe (--recipe FILE)")
    return Card(f"---\n{_yaml(stated)}---\n\n{body}", stated.get("license"), unknown)


def _yaml(value: object) -> str:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)


def _index(results: Results) -> Iterator[Any]:
    """Results as the metadata of a hub have them."""
    from huggingface_hub import EvalResult

    for row, measured in results.rows.items():
        if row in REFERENCES:
            continue
        for measure, (value, _) in measured.items():
            if not math.isfinite(value):
                continue
            yield EvalResult(
                task_type="video-to-audio",
                dataset_type="custom",
                dataset_name=f"{results.name}{f' ({results.what})' if results.what else ''}",
                metric_type=measure,
                metric_name=f"{measure} ({row})" if row else measure,
                metric_value=float(f"{value:.6g}"),
            )


def _body(repository: str, known: Known, about: About, results: Sequence[Results]) -> Iterator[str]:
    packages, parts, title = known.packages, known.parts, repository.rpartition("/")[2]
    yield f"{MARK}\n# {title}\n"
    yield f"A video-to-audio model for [PrismAudio](https://pypi.org/project/prismaudio/) {__version__}.\n"
    yield "```python\nfrom prismaudio import PrismAudio\n"
    yield f'model = PrismAudio.from_pretrained("{repository}")'
    yield 'model.generate("clip.mp4").save("clip_with_sound.mp4")\n```\n'
    yield "## Packages\n\n| Package | Version |\n|---|---|"
    yield from (f"| `{name}` | {version} |" for name, version in sorted(packages.items()))
    ours = dict.fromkeys(folder for name in packages if name in OFFICIAL for folder in plugin_folders(name))
    clone = f"; in a clone of PrismAudio: `pip install {' '.join(['.', *ours])}`" if ours else ""
    yield f"\n`pip install {' '.join(sorted({'prismaudio', *packages}))}`{clone}\n"
    yield "## Parts\n\n| Part | Class | Parameters | Stored as |\n|---|---|---|---|"
    for part in parts:
        count = "" if part.parameters is None else f"{part.parameters:,}"
        stored = f"files of {part.files}" if part.files and "/" in part.files else ", ".join(part.dtypes)
        yield f"| {part.name} | `{part.kind}` | {count} | {stored} |"
    yield f"| all | | {sum(part.parameters or 0 for part in parts):,} | |\n\n## Sound\n\n| | |\n|---|---|"
    yield from (f"| {name} | {value} |" for name, value in known.facts.items())
    yield ""
    yield from _training(about)
    for result in results:
        yield from _table(result)
    if about.licence:
        yield f"## Licence\n\n{about.licence}\n"


def _training(about: About) -> Iterator[str]:
    recipe = None if about.recipe is None else published_recipe(about.recipe)
    if not (about.base_models or about.datasets or recipe):
        return
    yield "## Training\n\n| | |\n|---|---|"
    for what, names in (("Base model", about.base_models), ("Data sets", about.datasets)):
        if names:
            yield f"| {what} | {', '.join(f'`{name}`' for name in names)} |"
    if recipe:
        yield from (f"| {what} | {value} |" for what, value in _recipe_rows(recipe))
        yield f"\n<details><summary>Recipe</summary>\n\n```yaml\n{_yaml(recipe)}```\n</details>"
    yield ""


def _recipe_rows(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    model, data, trainer = (_mapping(recipe.get(key)) for key in ("model", "data", "trainer"))
    arguments = _mapping(model.get("init_args"))
    if kind := _class(model):
        yield "Task", kind
    if isinstance(arguments.get("pretrained"), str):
        yield "Started from", f"`{arguments['pretrained']}`"
    if kind := _class(data):
        given = _mapping(data.get("init_args"))
        named = [f"{key} `{value}`" for key, value in given.items() if isinstance(value, int | str)]
        yield "Data", f"{kind}{', ' if named else ''}{', '.join(named[:4])}"
    optimizer = _mapping(arguments.get("optimizer"))
    if kind := _class(optimizer):
        rate = _mapping(optimizer.get("init_args")).get("lr")
        yield "Optimizer", f"{kind}, rate {rate}" if rate else kind
    if settings := ", ".join(f"{key} {value}" for key, value in trainer.items()):
        yield "Trainer", settings


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _class(described: Mapping[str, Any]) -> str:
    """The name of a class in a recipe, as code; empty if there is none."""
    kind = str(described.get("class_path") or "").rpartition(".")[2]
    return f"`{kind}`" if kind else ""


def published_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a card shows of a recipe: model, data, seed and some of the trainer, without secrets and folders.

    Example:
        >>> published_recipe({"data": {"manifest": "/home/me/clips.csv", "api_key": "x"}, "ckpt_path": "/tmp/a"})
        {'data': {'manifest': '…/clips.csv'}}
    """
    chosen = {key: recipe[key] for key in ("seed_everything", "model", "data") if recipe.get(key) is not None}
    trainer = recipe.get("trainer")
    settings = {key: trainer.get(key) for key in _TRAINER} if isinstance(trainer, dict) else {}
    found: dict[str, Any] = _public({**chosen, "trainer": settings})
    return {key: value for key, value in found.items() if value not in ({}, None)}


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            str(key): _public(item) for key, item in value.items() if item is not None and not _SECRET.search(str(key))
        }
    if isinstance(value, list):
        return [_public(item) for item in value]
    if isinstance(value, str):
        path = PureWindowsPath(value) if PureWindowsPath(value).drive else PurePosixPath(value)
        if path.is_absolute() or value.startswith(("~", "../")):
            return f"…/{path.name}"
        return _PLACES.sub("…/", _CREDENTIALS.sub("", value))
    return value if isinstance(value, int | float) else str(value)


def _table(results: Results) -> Iterator[str]:
    """A table of results: a line for each measure, a column for each row of the file."""
    yield f"## Results: {results.name}\n"
    said = [results.what] if results.what else []
    said += [f"measured with `{results.model}`"] if results.model else []
    if said:
        yield f"{'; '.join(said)}.\n"
    rows = [row for row, measured in results.rows.items() if measured]
    yield f"| Measure | {' | '.join(row or 'value' for row in rows)} |\n|---|{'---|' * len(rows)}"
    for measure in dict.fromkeys(measure for row in rows for measure in results.rows[row]):
        cells = [results.rows[row].get(measure) for row in rows]
        shown = [
            "" if cell is None else f"{cell[0]:.4g}" + ("" if cell[1] is None else f" ± {cell[1]:.2g}")
            for cell in cells
        ]
        yield f"| {measure} | {' | '.join(shown)} |"
    yield ""


def notes(known: Known, about: About) -> list[str]:
    """What the owner of a model may want to know about its card."""
    found = []
    if known.local:
        names = first_of(known.local, 3)
        found.append(f"{names}: of a local plugin, which others cannot install; make a package of it")
    for results in map(read_results, about.results):
        measured = (results.model or "").rpartition("@")[2]
        if measured and measured != known.fingerprint:
            found.append(f"{results.name} was measured with {results.model}; this model is {known.fingerprint}")
    start = _mapping(_mapping((about.recipe or {}).get("model")).get("init_args"))
    if not about.base_models and isinstance(start.get("pretrained"), str):
        found.append(f"the recipe starts from {start['pretrained']}; --base-model states its name on the hub")
    return found
