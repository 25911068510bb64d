"""What ``prismaudio evaluate video-encoders`` and ``text-encoders`` share: encoders by name, and their embeddings."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from prismaudio.cli import evaluate
from prismaudio.cli.arguments import seed, whole
from prismaudio.cli.building import create, join_planner_arguments, on_device, parse_described
from prismaudio.errors import DataError, PrismAudioError
from prismaudio.media.files import check_writable, replacing
from prismaudio.paths import expanded
from prismaudio.registry import discover
from prismaudio.untrusted import escaped, json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from prismaudio.data.manifest import ManifestEntry
    from prismaudio.evaluation.comparison import EvaluationFolder
    from prismaudio.evaluation.grid import Grid
    from prismaudio.evaluation.suites import Suite

ENCODER, TEXT = "--encoder", "--text"


@dataclass(frozen=True)
class Named:
    """An encoder that the command line names.

    Args:
        name: Its name in the table.
        kind: Its class.
        arguments: Arguments of its class.
        of_pair: Arguments of the class that embeds clips and texts in one space, see
            :attr:`prismaudio.encoders.base.Encoder.embedder`, if it has one.
    """

    name: str
    kind: type[Any]
    arguments: dict[str, Any]
    of_pair: dict[str, Any]

    def make(self, device: torch.device) -> Any:
        """The encoder on a device.

        Raises:
            PrismAudioError: It cannot be created, because weights are missing, say.
        """
        return on_device(create("encoders", self.kind.__name__, dict(self.arguments), ENCODER), device)

    def make_pair(self, device: torch.device) -> Any:
        """What embeds clips and texts in one space; None if the encoder has nothing of the kind.

        Raises:
            PrismAudioError: It cannot be created.
        """
        if not self.kind.embedder:
            return None
        return _pair_class(self.kind)(**self.of_pair, device=device)


def add_options(parser: argparse.ArgumentParser, what: str) -> argparse._ArgumentGroup:
    """Add the options that both commands have.

    Args:
        parser: The parser.
        what: What the encoders encode.

    Returns:
        The group of the options about encoders.
    """
    evaluate.add_suite(parser)
    group = parser.add_argument_group("encoders")
    group.add_argument(
        ENCODER, action="append", default=[], metavar="[NAME=]CLASS|FILE",
        help=f"an encoder of {what}, or a YAML file with class_path and init_args; repeatable",
    )  # fmt: skip
    group.add_argument(
        f"{ENCODER}.NAME", metavar="VALUE", dest=argparse.SUPPRESS, default=argparse.SUPPRESS,
        help=f"an argument of the class of the last {ENCODER}, such as {ENCODER}.weights DIR",
    )  # fmt: skip
    how = parser.add_argument_group("measurement")
    how.add_argument(
        "--folds", type=whole(2, 100), default=5, metavar="N",
        help="parts into which the clips are divided; each is tested by what is trained on the others "
        "(default: %(default)s)",
    )  # fmt: skip
    how.add_argument("--seed", type=seed, default=0, help="seed of folds and controls (default: %(default)s)")
    how.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default: %(default)s)")
    return group


def joined(argv: Sequence[str]) -> list[str]:
    """The words of the command line, with arguments of classes in the options before them."""
    return join_planner_arguments(argv, (ENCODER, TEXT, evaluate.SUITE))


def named_encoders(texts: Sequence[str], option: str, *, of_text: bool) -> list[Named]:
    """The encoders that an option names; nothing is created.

    Args:
        texts: The values of the option.
        option: The option, for errors.
        of_text: Whether encoders of text are expected, not of video.

    Raises:
        PrismAudioError: There is no such class, it does not take an argument, or it encodes something else.
    """
    found: list[Named] = []
    for text in texts:
        described, arguments = parse_described(text, option)
        name, equals, given = described.partition("=")
        given = (given if equals else described).rpartition(".")[2]
        kind = discover().load("encoders", given)
        name = name if equals else given
        if not evaluate.NAME.fullmatch(name):
            raise PrismAudioError(f"{option} {described}: the name {name!r} is not of letters, digits and ._+-")
        if any(other.name == name for other in found):
            raise PrismAudioError(f"two encoders are named {name!r}; give them names, as in {option} mine={given}")
        if kind.reads_plan != of_text:
            what = ("video", "text") if of_text else ("text", "video")
            raise PrismAudioError(f"{option} {given}: {given} encodes {what[0]}; expected an encoder of {what[1]}")
        found.append(_checked(name, kind, arguments, option))
    return found


def _checked(name: str, kind: type[Any], arguments: dict[str, Any], option: str) -> Named:
    """An encoder after a check of its arguments, some of which may be those of its pair alone."""
    from prismaudio.checkpoints import check_arguments
    from prismaudio.signatures import parameters

    known, of_pair = parameters(kind), {}
    if kind.embedder:
        pair = parameters(_pair_class(kind))
        of_pair = {key: value for key, value in arguments.items() if key in pair}
        arguments = {key: value for key, value in arguments.items() if key in known or key not in pair}
    check_arguments(option, kind, arguments, "")
    return Named(name, kind, arguments, of_pair)


def _pair_class(kind: type[Any]) -> type[Any]:
    module, _, name = kind.embedder.partition(":")
    found: type[Any] = getattr(import_module(module), name)
    return found


def opened(options: argparse.Namespace) -> tuple[EvaluationFolder, Suite, list[ManifestEntry]]:
    """The folder of the evaluation, the suite and its clips."""
    output = expanded(options.output)
    check_writable(output)
    suite = evaluate.find_suite(options.suite)
    from prismaudio.evaluation.comparison import EvaluationFolder

    folder = EvaluationFolder(output)
    folder.check()
    entries = suite.clips(folder.media, discover().sections())[: options.limit]
    return folder, suite, entries


def embeddings(
    folder: EvaluationFolder, name: str, by: str, keys: Sequence[str], compute: Callable[[int], torch.Tensor]
) -> tuple[dict[int, torch.Tensor], dict[int, str]]:
    """Embeddings of an encoder; those that are in its file are not computed again.

    Args:
        folder: The folder of the evaluation.
        name: Name of the file.
        by: What the embeddings depend on, see :func:`prismaudio.evaluation.embeddings.identity`.
        keys: What each is of, see :func:`prismaudio.evaluation.embeddings.key_of`.
        compute: Computes the embedding ``(dim,)`` of a number.

    Returns:
        Embeddings by number, and the reasons of those that cannot be computed.
    """
    from prismaudio.evaluation.embeddings import EmbeddingFile
    from prismaudio.progress import Reporter

    file = EmbeddingFile(folder.folder / "embeddings" / f"{name}.safetensors", by)
    failures: dict[int, str] = {}
    known = sum(key in file for key in keys)
    with Reporter(len(keys), "embeddings") as reporter:
        try:
            for at, key in enumerate(keys):
                if key not in file:
                    try:
                        file.add(key, compute(at))
                    except PrismAudioError as error:
                        failures[at] = str(error)
                reporter.count()
        finally:
            file.save()
        reporter.write(f"{name}: {len(keys) - known - len(failures)} embeddings computed, {known} were there")
    return {at: file[key] for at, key in enumerate(keys) if key in file}, failures


def conclude(folder: EvaluationFolder, name: str, grid: Grid, content: dict[str, Any]) -> None:
    """Write the results as JSON and Markdown, and print the table."""
    for path, data in (
        (folder.folder / f"{name}.json", json_text(content, indent=2)),
        (folder.folder / f"{name}.md", escaped(f"# {grid.title}\n\n{grid.markdown()}").encode()),
    ):
        with replacing(path) as part:
            part.write_bytes(data)
    grid.show()


def shared(found: Sequence[dict[int, Any]], n_clips: int, what: str) -> list[int]:
    """The numbers that all encoders have an embedding of.

    Raises:
        DataError: There are none.
    """
    numbers = [at for at in range(n_clips) if all(at in of_encoder for of_encoder in found)]
    if not numbers:
        raise DataError(f"there is no {what} that all encoders can embed")
    return numbers
