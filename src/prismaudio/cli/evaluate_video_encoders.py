"""``prismaudio evaluate video-encoders``: recall of captions by embeddings of clips, by scene complexity."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prismaudio.cli import evaluate_encoders as shared
from prismaudio.cli.arguments import Parser
from prismaudio.cli.evaluate import named
from prismaudio.errors import DataError, PrismAudioError, first_of
from prismaudio.paths import expanded
from prismaudio.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from prismaudio.cli.evaluate_encoders import Named
    from prismaudio.data.manifest import ManifestEntry
    from prismaudio.evaluation.comparison import EvaluationFolder
    from prismaudio.evaluation.retrieval import RetrievalRow
    from prismaudio.types import Clip

WORDS = "bag of words"
_EPILOG = """\
Two ways to retrieve captions, each a line of the table:
  zero-shot    by the cosine of clip and caption, of encoders whose class has a text tower, such as ClipEncoder
  linear map   by a ridge regression from the mean of the features over time to embeddings of captions, for all;
               trained on other clips than those that are tested
In both, the captions of a fold compete with each other, and the same captions are the same hit.

examples:
  prismaudio evaluate video-encoders --suite clips.csv --suite.group events --encoder VideoPrismEncoder -o encoders
  prismaudio evaluate video-encoders --suite clips.csv --encoder ClipEncoder --encoder.weights DIR -o encoders
  prismaudio evaluate video-encoders --suite clips.csv --features mine=data/features --stream video -o encoders
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio evaluate video-encoders``."""
    parser = Parser(
        "prismaudio evaluate video-encoders",
        description="Compare encoders of video by the recall of captions, by scene complexity.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group = shared.add_options(parser, "video")
    group.add_argument(
        "--features", action="append", default=[], metavar="[NAME=]DIR",
        help="features of the clips, from prismaudio extract, instead of an encoder; repeatable",
    )  # fmt: skip
    group.add_argument("--stream", default="video", help="stream of --features (default: %(default)s)")
    group.add_argument(
        shared.TEXT, metavar="CLASS|FILE",
        help=f"encoder of text whose mean is what features are mapped to; arguments as {shared.TEXT}.NAME VALUE "
        f"(default: {WORDS}, which needs no weights)",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio evaluate video-encoders``.

    Returns:
        0, or 2 if some clips could not be embedded.
    """
    options = make_parser().parse_args(shared.joined(argv))
    encoders = shared.named_encoders(options.encoder, shared.ENCODER, of_text=False)
    folders = dict(stored := [named(text, "--features") for text in options.features])
    if not encoders and not folders:
        raise PrismAudioError("there is no encoder to evaluate; give --encoder CLASS or --features DIR")
    names = [one.name for one in encoders] + [name for name, _ in stored]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise PrismAudioError(f"two encoders are named {twice!r}; give them names, as in --features mine=DIR")
    text = shared.named_encoders([options.text] if options.text else [], shared.TEXT, of_text=True)
    for name, place in stored:
        if not expanded(place).is_dir():
            raise DataError(f"--features {name}: there is no folder {place}; expected one of prismaudio extract")
    from prismaudio.devices import find_device

    device = find_device(options.device)
    folder, suite, entries = shared.opened(options)
    captioned, notes = _with_captions(entries)
    comparison = _Comparison(folder, captioned, suite.group_columns, options, device, notes)
    folder.keep_clips(suite, entries)
    comparison.embed_captions(text[0] if text else None)
    for one in encoders:
        comparison.embed(one)
    for name, place in stored:
        comparison.read(name, place)
    return comparison.conclude(f"Recall of captions in %, {type(suite).__name__}, {len(captioned)} clips")


def _with_captions(entries: Sequence[ManifestEntry]) -> tuple[list[ManifestEntry], list[str]]:
    """The clips with a caption, and a line about the others."""
    kept = [entry for entry in entries if caption_of(entry)]
    without = [entry.id for entry in entries if not caption_of(entry)]
    if not kept:
        raise DataError("no clip of the suite has a caption to retrieve; give captions in the column caption")
    return kept, [f"{len(without)} clips have no caption: {first_of(without, 3)}"] if without else []


def caption_of(entry: ManifestEntry) -> str:
    """The caption of a clip: the first one, or the semantic section of its plan; empty for none."""
    return next(iter(entry.captions), "") or next(iter(entry.texts), Plan({})).get("semantic", "")


class _Comparison:
    """The embeddings of a comparison, and its table.

    Args:
        folder: The folder of the evaluation.
        entries: The clips, all with captions.
        columns: Columns whose values divide them into groups.
        options: The parsed command line.
        device: Device of the networks.
        notes: What a reader of the values must know.
    """

    def __init__(
        self, folder: EvaluationFolder, entries: Sequence[ManifestEntry], columns: Sequence[str],
        options: argparse.Namespace, device: torch.device, notes: Sequence[str],
    ) -> None:  # fmt: skip
        from prismaudio.evaluation.embeddings import key_of
        from prismaudio.evaluation.folds import assign_folds
        from prismaudio.evaluation.retrieval import AT, distinct, gallery_sizes
        from prismaudio.inference import Settings

        self.folder, self.entries, self.columns, self.options, self.device = folder, entries, columns, options, device
        self.notes, self.text_by = list(notes), WORDS
        self.captions, self.right = distinct([caption_of(entry) for entry in entries])
        self.folds = assign_folds(self.right.tolist(), min(options.folds, len(self.captions)), options.seed)
        smallest = int(gallery_sizes(self.right, self.folds).min())
        if smallest <= max(AT):
            n_needed, n_folds = (max(AT) + 1) * 2, min(options.folds, len(self.captions))
            raise DataError(
                f"{len(entries)} clips with {len(self.captions)} different captions make {n_folds} folds, the "
                f"smallest with {smallest} captions, of which {max(AT)} are retrieved; give fewer --folds, or more "
                f"clips: {n_needed} different captions at least"
            )
        self.frame_spec = self.usual = Settings().frame_spec
        self.keys = [key_of(*_file(entry)) for entry in entries]
        self.rows: dict[tuple[str, str], dict[int, torch.Tensor] | str] = {}
        self.texts: dict[tuple[str, str], torch.Tensor] = {}
        self.failures: dict[int, str] = {}

    def embed_captions(self, text: Named | None) -> None:
        """Embed captions in the space that features are mapped to."""
        import torch

        from prismaudio.evaluation.embeddings import identity, key_of, pooled
        from prismaudio.evaluation.retrieval import bag_of_words
        from prismaudio.types import Clip

        if text is None:
            self.mapped_to = bag_of_words(self.captions)
            return
        encoder = text.make(self.device)
        plans = [Plan({"semantic": caption}) for caption in self.captions]
        found, failures = shared.embeddings(
            self.folder, f"text-{text.name}", identity(encoder, text.arguments), [key_of(str(plan)) for plan in plans],
            lambda at: pooled(encoder.encode(Clip("caption", 10.0), plans[at]), f"the caption {self.captions[at]!r}"),
        )  # fmt: skip
        if failures:
            raise DataError(f"{shared.TEXT} {text.name}: {next(iter(failures.values()))}")
        self.mapped_to, self.text_by = torch.stack([found[at] for at in range(len(plans))]), text.name

    def embed(self, one: Named) -> None:
        """Embed the clips by an encoder, and clips and captions by its pair if it has one."""
        from prismaudio.evaluation.retrieval import DIRECT, MAPPED

        try:
            by = self._embed_frames(one)
        except PrismAudioError as error:
            self.rows[one.name, MAPPED] = str(error)
            return
        try:
            self._embed_pair(one, by)
        except PrismAudioError as error:
            self.rows[one.name, DIRECT] = str(error)

    def _embed_frames(self, one: Named) -> str:
        """Embed the clips by an encoder, and return what the embeddings depend on.

        Raises:
            PrismAudioError: It cannot be created.
        """
        import torch

        from prismaudio.evaluation.embeddings import identity, pooled
        from prismaudio.evaluation.retrieval import MAPPED

        encoder = one.make(self.device)
        self.frame_spec = encoder.frame_spec or replace(self.usual, fps=encoder.rate_hz or self.usual.fps)
        by = identity(encoder, one.arguments)

        def embedded(at: int) -> torch.Tensor:
            with torch.no_grad():
                return pooled(encoder.encode(self._clip(at), Plan({})), f"clip {self.entries[at].id}")

        self._keep((one.name, MAPPED), *shared.embeddings(self.folder, one.name, by, self.keys, embedded))
        return by

    def _embed_pair(self, one: Named, by: str) -> None:
        """Embed clips and captions in one space.

        Raises:
            PrismAudioError: What embeds both cannot be created, or a caption cannot be embedded.
        """
        import torch

        from prismaudio.evaluation.embeddings import key_of
        from prismaudio.evaluation.retrieval import DIRECT

        pair = one.make_pair(self.device)
        if pair is None:
            self.notes.append(f"{one.name} has no text tower, so that it has no line {DIRECT}")
            return
        by = f"pair {by} {sorted(one.of_pair.items())!r}"
        texts, failures = shared.embeddings(
            self.folder, f"{one.name}-pair-text", by, [key_of(caption) for caption in self.captions],
            lambda at: _finite(pair.embed_text(self.captions[at]), f"the caption {self.captions[at]!r}"),
        )  # fmt: skip
        if failures:
            raise DataError(next(iter(failures.values())))
        self.texts[one.name, DIRECT] = torch.stack([texts[at] for at in range(len(self.captions))])
        clips = shared.embeddings(
            self.folder, f"{one.name}-pair", by, self.keys,
            lambda at: _finite(pair.embed_clip(self._clip(at)), f"clip {self.entries[at].id}"),
        )  # fmt: skip
        self._keep((one.name, DIRECT), *clips)

    def _clip(self, at: int) -> Clip:
        """A clip with the frames that the current encoder expects."""
        from prismaudio.data.clips import read_frames

        if self.entries[at].video is None:
            raise DataError(f"clip {self.entries[at].id} has no video")
        return read_frames(self.entries[at], [self.frame_spec])[self.frame_spec]

    def read(self, name: str, place: str) -> None:
        """Read the features of a folder."""
        from prismaudio.evaluation.embeddings import stored_features
        from prismaudio.evaluation.retrieval import MAPPED

        found, failures = stored_features(expanded(place), self.options.stream, self.entries)
        numbers = {entry.id: at for at, entry in enumerate(self.entries)}
        self._keep(
            (name, MAPPED),
            {numbers[key]: value for key, value in found.items()},
            {numbers[key]: reason for key, reason in failures.items()},
        )

    def _keep(self, row: tuple[str, str], found: dict[int, torch.Tensor], failures: dict[int, str]) -> None:
        """Keep embeddings; an encoder that embeds nothing has an empty line, and the others keep their clips."""
        if found:
            self.rows[row] = found
            self.failures |= failures
        else:
            self.rows[row] = f"it embeds no clip: {next(iter(failures.values()), '')}"

    def conclude(self, title: str) -> int:
        """Compute the table, write it and print it."""
        from prismaudio.evaluation import retrieval
        from prismaudio.evaluation.comparison import ALL, groups_of

        kept = shared.shared(
            [found for found in self.rows.values() if isinstance(found, dict)], len(self.entries), "clip"
        )
        entries = [self.entries[at] for at in kept]
        ids = [entry.id for entry in entries]
        only = f"{self.columns[0]}: " if len(self.columns) == 1 else ""
        groups = {
            "all" if name == ALL else name.removeprefix(only): members
            for name, members in groups_of(entries, self.columns).items()
        }
        right, folds = self.right[kept], self.folds[kept]
        rows, first = self._rows(kept, ids, groups)
        rows.append(retrieval.chance_row(retrieval.gallery_sizes(right, folds), ids, groups))
        grid = retrieval.retrieval_grid(rows, list(groups), title)
        sizes = sorted(retrieval.gallery_sizes(right, folds).tolist())
        competing = f"{sizes[0]}" if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"
        n_distinct = len(right.unique())
        grid.notes += [
            f"{len(kept)} clips with {n_distinct} different captions in {len(folds.unique())} folds",
            f"{competing} captions, those of its fold, compete for a clip; ties count against the encoder",
            f"linear maps lead to: {self.text_by}; shuffled: the same with the training captions in another order",
            *([f"*: the interval of the paired difference from {first} does not contain zero"] if first else []),
            *self.notes,
        ]
        if lost := sorted(self.failures):
            reasons = [self.failures[at] for at in lost]
            grid.notes.append(f"{len(lost)} clips are left out: {first_of(reasons, 3)}")
        content: dict[str, Any] = {
            "clips": len(kept), "captions": n_distinct, "folds": self.options.folds, "seed": self.options.seed,
            "text": self.text_by, "groups": {name: len(members) for name, members in groups.items()},
            "rows": [row.as_dict() for row in rows], "notes": grid.notes,
        }  # fmt: skip
        shared.conclude(self.folder, "video_encoders", grid, content)
        return 2 if self.failures else 0

    def _rows(
        self, kept: Sequence[int], ids: Sequence[str], groups: dict[str, set[str]]
    ) -> tuple[list[RetrievalRow], str]:
        """The lines of encoders and of their controls, and the title of the first one of each way."""
        import torch

        from prismaudio.evaluation import retrieval

        rows: list[RetrievalRow] = []
        first: dict[str, torch.Tensor] = {}
        titles: dict[str, str] = {}
        right, folds = self.right[list(kept)], self.folds[list(kept)]
        for way in (retrieval.DIRECT, retrieval.MAPPED):
            for (name, of), found in self.rows.items():
                if of != way:
                    continue
                if isinstance(found, str):
                    rows.append(retrieval.RetrievalRow(name, way, reason=found))
                    continue
                clips = torch.stack([found[at] for at in kept])
                if way == retrieval.DIRECT:
                    ranks = retrieval.retrieve_directly(clips, self.texts[name, of], right, folds)
                else:
                    ranks = retrieval.retrieve_by_map(clips, self.mapped_to, right, folds)
                rows.append(retrieval.recall_row(name, way, ranks, ids, groups, first.get(way)))
                first.setdefault(way, ranks)
                titles.setdefault(way, rows[-1].title)
                if way == retrieval.MAPPED:
                    control = retrieval.retrieve_by_map(clips, self.mapped_to, right, folds, shuffled=self.options.seed)
                    rows.append(retrieval.recall_row(name, "shuffled captions", control, ids, groups, None))
        return rows, " or ".join(titles.values())


def _file(entry: ManifestEntry) -> tuple[object, ...]:
    """What the frames of a clip depend on."""
    found = entry.video.stat() if entry.video is not None and entry.video.exists() else None
    return (entry.id, entry.start_s, entry.end_s, *((found.st_size, found.st_mtime_ns) if found else ()))


def _finite(embedding: torch.Tensor, what: str) -> torch.Tensor:
    if not bool(embedding.isfinite().all()):
        raise DataError(f"the embedding of {what} contains NaN or infinity")
    return embedding
