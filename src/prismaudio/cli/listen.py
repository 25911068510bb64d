"""``prismaudio listen``: make a blind listening test of an evaluation, and collect its answers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prismaudio.cli.arguments import Parser, seed, whole
from prismaudio.errors import DataError, PrismAudioError, UnknownNameError, first_of
from prismaudio.media.files import check_writable, replacing
from prismaudio.paths import expanded
from prismaudio.registry import discover
from prismaudio.untrusted import escaped, json_text, load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.evaluation.listening import Answers, Design, Key
    from prismaudio.evaluation.reading import Evaluation

FOLDER, KEY = "listening", "listening-key.json"
TABLE = "listening.md"
KEEP = "keep"
MAX_KEY_BYTES = 64 << 20
_EPILOG = """\
The folder OUT/listening is for listeners: send it, or put it on any web server, and open index.html. Names of files
tell nothing; which sound is of which system is in OUT/listening-key.json alone, which you keep. Each listener gets one
of the forms at random, or form 7 with index.html?form=7, and sends back the file that the page saves.

A form has every system, and the true sound as a hidden anchor, of a few clips to rate (MOS-Q, the sound by itself, and
MOS-C, its consistency with the video, 1 to 5), pairs of systems to choose from, and noise to see who listens.

examples:
  prismaudio listen evaluation --forms 10
  prismaudio listen evaluation --collect answers/*.json
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio listen``."""
    parser = Parser(
        "prismaudio listen",
        description="Make a blind listening test of the systems of an evaluation, or collect its answers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="OUT", help="folder that prismaudio evaluate wrote")
    making = parser.add_argument_group("the test")
    making.add_argument("--systems", metavar="NAMES", help="comma-separated systems (default: all)")
    making.add_argument(
        "--forms", type=whole(1, 1000), default=24, help="forms, each for one listener or more (default: %(default)s)"
    )
    making.add_argument("--clips", type=whole(1, 1000), default=5, help="clips per form to rate (default: %(default)s)")
    making.add_argument(
        "--pairs", type=whole(0, 1000), default=8, help="pairs per form to choose from (default: %(default)s)"
    )
    making.add_argument(
        "--checks", type=whole(0, 100), default=2, help="attention checks per form (default: %(default)s)"
    )
    making.add_argument(
        "--ask", type=_questions, default=None, metavar="WHAT", help="quality, consistency or both (default: both)"
    )
    making.add_argument(
        "--loudness", type=_loudness, default=-23.0, metavar="LUFS",
        help="loudness of all sounds, or keep (default: %(default)g)",
    )  # fmt: skip
    making.add_argument("--title", default="Listening test", help="title of the page (default: %(default)s)")
    making.add_argument("--post", type=_address, metavar="URL", help="address that the page sends answers to")
    making.add_argument("--seed", type=seed, default=0, help="seed of clips, pairs and orders (default: %(default)s)")
    making.add_argument("--force", action="store_true", help="replace a test that is there; its answers are then lost")
    collecting = parser.add_argument_group("its answers")
    collecting.add_argument(
        "--collect", nargs="+", metavar="ANSWERS", help="files that listeners saved, or folders of them"
    )
    collecting.add_argument("--keep-failed", action="store_true", help="keep listeners who failed an attention check")
    return parser


def _questions(text: str) -> tuple[str, ...]:
    from prismaudio.evaluation.listening import QUESTIONS

    given = list(QUESTIONS) if text == "both" else [name.strip() for name in text.split(",")]
    if not given or not set(given) <= set(QUESTIONS):
        raise argparse.ArgumentTypeError(f"expected {', '.join(QUESTIONS)} or both, not {text!r}")
    return tuple(name for name in QUESTIONS if name in given)


def _loudness(text: str) -> float | None:
    if text == KEEP:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not -60 <= value <= -5:
        raise argparse.ArgumentTypeError(f"expected a loudness from -60 to -5 LUFS, or {KEEP}, not {text!r}")
    return value


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or any(mark in text for mark in " ;,\"'<>"):
        raise argparse.ArgumentTypeError(f"expected an address such as https://example.org/answers, not {text!r}")
    return text


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio listen``.

    Returns:
        0, or 2 if a stimulus could not be made or a file of answers not be read.
    """
    options = make_parser().parse_args(argv)
    folder = expanded(options.folder)
    if options.collect:
        return _collect(folder, options)
    return _make(folder, options)


# Making --------------------------------------------------------------------------------------------------------------
def _make(folder: Path, options: argparse.Namespace) -> int:
    """Write the test of an evaluation."""
    from prismaudio.evaluation.listening import QUESTIONS, Design
    from prismaudio.evaluation.listening_page import write_media, write_page
    from prismaudio.evaluation.reading import read_evaluation
    from prismaudio.progress import Reporter

    found = read_evaluation(folder, discover().sections())
    design = Design(
        options.forms, options.clips, options.pairs, options.checks, options.ask or QUESTIONS, options.loudness
    )
    key, notes = _key(found, design, options)
    check_writable(folder)
    _check_place(folder / FOLDER)
    with replacing(folder / KEY) as part:
        part.write_bytes(json_text(key.as_dict(), indent=1))
    videos = {clip.id: clip.video for clip in found.clips if clip.video is not None}
    with Reporter(len(key.stimuli), "stimuli") as reporter:
        write_media(key, folder / FOLDER, videos, found.audio, found.references, reporter)
    page = write_page(key, folder / FOLDER, options.title, options.post or "")
    for note in notes:
        sys.stderr.write(f"note: {escaped(note)}\n")
    longest = max(len(form) for form in key.forms)
    sys.stdout.write(
        f"{page}: test {key.test}, {len(key.forms)} forms of up to {longest} trials, {len(key.stimuli)} stimuli\n"
        f"send the folder {page.parent} to listeners, and keep {folder / KEY}\n"
    )
    return reporter.conclude(f"{len(reporter.failures)} failures in {len(key.stimuli)} stimuli")


def _key(found: Evaluation, design: Design, options: argparse.Namespace) -> tuple[Key, list[str]]:
    """The test, the same as before if it is there with the same options; and what a user must know of it."""
    from prismaudio.evaluation.listening import plan_test
    from prismaudio.evaluation.listening_page import source_digests

    folder = found.folder
    names = list(found.audio) if options.systems is None else [name for name in options.systems.split(",") if name]
    if unknown := next((name for name in names if name not in found.audio), None):
        raise UnknownNameError(f"no system of {folder} is named {unknown!r}; expected {', '.join(found.audio)}")
    notes = []
    if is_truth := [name for name in names if name in found.truths]:
        names = [name for name in names if name not in is_truth]
        notes.append(f"{', '.join(is_truth)} is the true sound, which is the hidden anchor")
    seen = {clip.id for clip in found.clips if clip.video is not None and clip.video.is_file()}
    audio = {
        name: {clip for clip, path in found.audio[name].items() if clip in seen and path.is_file()} for name in names
    }
    for name, ids in audio.items():
        if lost := [clip.id for clip in found.clips if clip.id not in ids]:
            notes.append(
                f"{name}: {len(lost)} of {len(found.clips)} clips have no audio or no video, and are not in the test: "
                f"{first_of(lost, 5)}"
            )
    truths = {clip for clip, path in found.references.items() if path.is_file()}
    before = _read_key(folder) if (folder / KEY).exists() else None
    key = plan_test(audio, truths, design, options.seed, before.secret if before else "")
    key.sources = source_digests(key, found.audio, found.references)
    if before is None or (before.test, before.sources) == (key.test, key.sources):
        return key, notes
    if not options.force:
        changed = "is that of another test" if before.test != key.test else "is that of other audio of these systems"
        raise PrismAudioError(
            f"{folder / KEY} {changed}, {before.test}, whose answers could not be read without it; "
            "give the same options, or replace it with --force"
        )
    key = plan_test(audio, truths, design, options.seed)  # with new names, so that no old file is taken for a new one
    key.sources = source_digests(key, found.audio, found.references)
    return key, notes


def _check_place(place: Path) -> None:
    """Check that the folder for listeners is new, or that of a test."""
    from prismaudio.evaluation.listening_page import GENERATOR, PAGE
    from prismaudio.pages import is_page_of

    page = place / PAGE
    if (place.exists() and not place.is_dir()) or (page.exists() and not is_page_of(page, GENERATOR)):
        raise DataError(f"{place} exists and is no listening test; move it elsewhere")


def _read_key(folder: Path) -> Key:
    from prismaudio.evaluation.listening import Key

    path = folder / KEY
    try:
        found = load_json(read_small(path, MAX_KEY_BYTES))
    except OSError as error:
        raise DataError(f"there is no {path}; make a test with prismaudio listen {folder}") from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}") from error
    return Key.from_dict(found, str(path))


# Collecting ----------------------------------------------------------------------------------------------------------
def _collect(folder: Path, options: argparse.Namespace) -> int:
    """Read the answers, write and print what they say."""
    from prismaudio.evaluation.opinions import RESULTS, collect, markdown, tables
    from prismaudio.progress import wide_console

    key = _read_key(folder)
    files = _answer_files(options.collect)
    given, refused = [], []
    for path in files:
        try:
            given.append(_read_answers(path, key))
        except DataError as error:
            refused.append(str(error))
    if not given:
        raise DataError(
            refused[0] if len(refused) == 1 else f"no file has answers of this test; the first: {refused[0]}"
        )
    found = collect(key, given, keep_failed=options.keep_failed)
    check_writable(folder)
    for name, content in ((RESULTS, json_text(found.as_dict(), indent=2)), (TABLE, markdown(found).encode())):
        with replacing(folder / name) as part:
            part.write_bytes(content)
    console = wide_console(160)
    for table in tables(found):
        console.print(table)
    for note in found.notes:
        console.print(f"  note: {escaped(note)}", markup=False, highlight=False, soft_wrap=True)
    for line in refused:
        sys.stderr.write(f"prismaudio: left out: {escaped(line)}\n")
    return 2 if refused else 0


def _answer_files(given: Sequence[str]) -> list[Path]:
    files: list[Path] = []
    for text in given:
        path = expanded(text)
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"there are no files of answers in {path}; expected answers-….json")
        files += inside
    return files


def _read_answers(path: Path, key: Key) -> Answers:
    from prismaudio.evaluation.listening import Answers

    try:
        found: Any = load_json(read_small(path))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    return Answers.from_dict(found, key, str(path))
