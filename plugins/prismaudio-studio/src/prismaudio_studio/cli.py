"""``prismaudio studio``: render clips of the procedural world, list recordings for it, teach the model a new sound."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.cli.arguments import brief, seed, whole
from prismaudio.errors import DataError, MediaError, UnknownNameError

if TYPE_CHECKING:
    from prismaudio_studio.world import Scene
    from prismaudio_studio.world.collecting import Collected
    from prismaudio_studio.world.folder import Found

SIZE_PX, FPS = (256, 256), 24.0
MAX_SIZE_PX, MAX_FPS = 2048, 240.0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{brief(text)} is not a frame size; expected pixels as 256, or HEIGHTxWIDTH as 180x320"
        )
    size = int(match[1]), int(match[2] or match[1])
    if not all(16 <= side <= MAX_SIZE_PX for side in size):
        raise argparse.ArgumentTypeError(f"{brief(text)} is out of range; expected 16 to {MAX_SIZE_PX} pixels a side")
    return size


def _fps(text: str) -> float:
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not 1.0 <= fps <= MAX_FPS:
        raise argparse.ArgumentTypeError(
            f"{brief(text)} is not a frame rate; expected 1 to {MAX_FPS:g} frames per second"
        )
    return fps


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 1e-8 <= rate <= 1.0:
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a learning rate; expected a number from 1e-8 to 1")
    return rate


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UnknownNameError(f"{message}; see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """The argument parser of the command."""
    top = _OneLineParser(
        prog="prismaudio studio",
        description="Render clips of the procedural world with their ground truth, list recordings for it, and teach "
        "the model a new sound.",
    )
    actions = top.add_subparsers(dest="action", required=True, metavar="render|recordings|teach")
    _add_recordings(actions)
    _add_teach(actions)
    render = actions.add_parser(
        "render",
        help="write clips as mp4, silent mp4, wav and ground-truth JSON",
        description="Write, for each clip, an mp4 with audio, the same mp4 without audio (.silent.mp4), a wav and a "
        "ground-truth JSON (events with time_s, class, azimuth_deg, level_db; quality; room; plan sections). Existing "
        "clips are skipped. By default the clips are HELD OUT: their combinations of classes, rooms and qualities "
        "occur in no training clip.",
    )
    render.add_argument("--seed", type=seed, default=0, help="seed of the clips (default: 0)")
    render.add_argument("--count", type=whole(0, 2**31 - 1), default=10, help="number of clips (default: 10)")
    render.add_argument("--start", type=whole(0, 2**31 - 1), default=0, help="index of the first clip (default: 0)")
    render.add_argument(
        "--split", choices=("plain", "randomised"), default="plain", help="visual variation of the clips"
    )
    render.add_argument(
        "--held-out",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="render held-out clips, or with --no-held-out clips of the training distribution (default: held out)",
    )
    render.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    render.add_argument(
        "--size", type=_size, metavar="PX|HxW", help="frame size (default: 256 for plain, varied for randomised)"
    )
    render.add_argument("--fps", type=_fps, help="frames per second (default: 24 for plain, varied for randomised)")
    render.add_argument(
        "--recordings",
        type=Path,
        metavar="TABLE",
        help="let things sound like the recordings of this table, as prismaudio studio recordings writes it; a class "
        "without a recording of its kind keeps its synthetic voice",
    )
    render.add_argument(
        "--families",
        action="store_true",
        help="show the families that have recordings in the table, in place of the synthetic classes",
    )
    render.add_argument("--force", action="store_true", help="overwrite existing files that are not studio clips")
    return top


def _add_recordings(actions: argparse._SubParsersAction[_OneLineParser]) -> None:
    recordings = actions.add_parser(
        "recordings",
        help="write a table of recordings that may be used, with their authors",
        description="Write a table of recordings: file, class, kind (one-shot or sustained), seconds, rate_hz, "
        "channels, source, fold, author, licence. Duration, rate and channels are measured; so is the kind where "
        "the source does not state it. Recordings without author, with a licence that is not allowed, or that cannot "
        "be used are left out, with the reason in one line each. Allowed are CC0, CC BY, public domain, WTFPL, MIT, "
        "Apache-2.0, BSD, ISC and Unlicense.",
    )
    recordings.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a table (.csv, .tsv, .jsonl), a folder with one, a folder with a subfolder of audio for each class, "
        "a Debian package that is installed, a folder to which one was unpacked, or an archive of sounds (.ocg of "
        "OpenClonk, .cat of OpenTTD)",
    )
    recordings.add_argument("--author", help="author of recordings in class folders")
    recordings.add_argument("--licence", help="licence of recordings in class folders")
    recordings.add_argument(
        "--unpack", type=Path, metavar="DIR", help="folder to which sounds that lie in archives are written"
    )
    recordings.add_argument(
        "--families",
        action="store_true",
        help="take only those that a family of the studio sounds like: what its model is trained on",
    )
    recordings.add_argument(
        "--heard",
        action="store_true",
        help="add a column heard: how clearly YAMNet hears its family in each recording, 0 to 1, by which training can "
        "take the best; needs prismaudio-yamnet",
    )
    recordings.add_argument("--notice", type=Path, metavar="FILE", help="write the text that names every author here")
    recordings.add_argument("-o", "--out", type=Path, required=True, metavar="TABLE", help=".csv file to write")
    recordings.add_argument("--force", action="store_true", help="overwrite existing files")


def _add_teach(actions: argparse._SubParsersAction[_OneLineParser]) -> None:
    teach = actions.add_parser(
        "teach",
        help="teach the model a new sound from a folder of recordings",
        description="Write a model that knows one more class. It begins as a copy of LIKE, and is trained on scenes of "
        "LIKE with the sound of the recordings; clips of the other classes, which the model generates itself, are "
        "trained on as well, so that they change less. Plans and prompts name the class by NOUN; the planner does not "
        "see it in videos.",
    )
    teach.add_argument("folder", type=Path, metavar="FOLDER", help="folder of recordings of the sound, ten if you can")
    teach.add_argument("noun", metavar="NOUN", help="new word for prompts and plans, in the singular: vuvuzela")
    teach.add_argument(
        "like",
        metavar="LIKE",
        help="class of the model that moves and sounds alike in time: it strikes, calls or lasts",
    )
    teach.add_argument("--model", default="studio", metavar="NAME|DIR", help="model to teach (default: studio)")
    teach.add_argument("--steps", type=whole(1, 10**6), default=300, help="optimizer steps (default: 300)")
    teach.add_argument("--batch-size", type=whole(1, 4096), default=12, help="clips in a batch (default: 12)")
    teach.add_argument(
        "--clips",
        type=whole(2, 10**5),
        default=96,
        help="clips of the new sound, half as many of LIKE, and as many of all others (default: 96)",
    )
    teach.add_argument("--learning-rate", type=_rate, default=3e-4, help="highest learning rate (default: 0.0003)")
    teach.add_argument(
        "--precision",
        choices=("32-true", "bf16-mixed"),
        default="bf16-mixed",
        help="arithmetic of training; bf16-mixed is faster where the processor has it (default: bf16-mixed)",
    )
    teach.add_argument("--seed", type=seed, default=0, help="seed of scenes, order and noise (default: 0)")
    teach.add_argument("-o", "--out", type=Path, required=True, metavar="MODEL", help="model folder to write")
    teach.add_argument("--force", action="store_true", help="replace an existing model in that folder")


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"cannot make the folder {path}: {error.strerror}; choose another with -o") from error
    if not os.access(path, os.W_OK):
        raise MediaError(f"cannot write into the folder {path}; choose another with -o")
    return path


def _report(number: int, count: int, scene: Scene, *, written: bool) -> None:
    line = f"{number}/{count} {scene.id} {'written' if written else 'already there'}"
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{line}" + ("\n" if number == count else ""))
    else:
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main(argv: list[str]) -> int:
    """Run ``prismaudio studio``.

    Args:
        argv: Arguments after ``studio``.

    Returns:
        Exit code.
    """
    args = parser().parse_args(argv)
    actions = {"render": _render, "recordings": _recordings, "teach": _teach}
    return actions[args.action](args)


def _render(args: argparse.Namespace) -> int:
    from prismaudio_studio.words import CLASSES
    from prismaudio_studio.world import sample_scene
    from prismaudio_studio.world.bank import SoundBank
    from prismaudio_studio.world.files import write_scene

    if args.families and args.recordings is None:
        raise DataError("--families needs the recordings that they sound like; give a table with --recordings")
    bank = None if args.recordings is None else SoundBank(args.recordings)
    cast: tuple[str, ...] = CLASSES
    if args.families and bank is not None:
        cast = bank.held_out if args.held_out else bank.cast
    folder = _folder(args.out)
    if bank is not None:
        counts = (f"{what} {train} + {held_out}" for what, (train, held_out) in bank.classes.items())
        sys.stderr.write(f"recordings to train on + held out: {', '.join(counts)}\n")
    for number in range(args.count):
        scene = sample_scene(args.start + number, args.seed, args.split, held_out=args.held_out, cast=cast)
        randomised = args.split == "randomised"
        size_px = args.size or (scene.look.size_px if randomised else SIZE_PX)
        fps = args.fps or (scene.look.fps if randomised else FPS)
        written = write_scene(scene, folder, size_px, fps, bank=bank, force=args.force)
        _report(number + 1, args.count, scene, written=written)
    return 0


def _recordings(args: argparse.Namespace) -> int:
    from prismaudio.media import replacing
    from prismaudio.media.files import spare
    from prismaudio.paths import expanded
    from prismaudio_studio.world.collecting import candidates
    from prismaudio_studio.world.recordings import licence_name, notice, read_recordings, table_text

    if args.out.suffix.lower() != ".csv":
        raise MediaError(f"{args.out} does not end in .csv; choose such a name with -o")
    for path in filter(None, (args.out, args.notice)):
        spare(path, map(expanded, args.sources))
        if path.exists() and not args.force:
            raise MediaError(f"{path} exists; choose another name, or add --force")
    if args.licence is not None and licence_name(args.licence) is None:
        raise DataError(f"the licence {brief(args.licence)} is not allowed; see prismaudio studio recordings --help")
    found = [cells for source in args.sources for cells in candidates(source, args.author, args.licence, args.unpack)]
    if args.families:
        found = _of_families(found)
    collected = _measured(found, heard=args.heard)
    folder = _folder(args.out.parent)
    with replacing(args.out) as part:
        part.write_text(table_text(collected.relative_to(folder)), encoding="utf-8")
    if args.notice is not None:
        with replacing(args.notice) as part:
            part.write_text(notice(read_recordings(args.out)), encoding="utf-8")
    return 0


def _of_families(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from prismaudio_studio.families import voices

    kept = [cells for cells in found if any(voice.is_of(cells.get("class") or "") for voice in voices().values())]
    if not kept:
        raise DataError("none of the recordings is of a family of the studio; see prismaudio_studio/data/families.csv")
    return kept


def _measured(found: list[dict[str, Any]], *, heard: bool) -> Collected:
    from prismaudio_footage.listening import listener
    from prismaudio_studio.world.collecting import Collected, clarity

    collected = Collected()
    hear = listener() if heard else None  # the reason why it cannot listen comes before the work
    for number, cells in enumerate(found, 1):
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{number}/{len(found)} measured")
        sound = collected.add(cells)
        if sound is not None and hear is not None:
            collected.rows[-1]["heard"] = clarity(hear, sound, cells["class"])
    sys.stderr.write("\r\033[K" * sys.stderr.isatty())
    _report_recordings(collected)
    if not collected.rows:
        raise DataError(f"none of the {len(found)} recordings can be used; the lines above say why")
    return collected


def _report_faults(recordings: Collected | Found) -> None:
    for file, reason in recordings.refused:
        sys.stderr.write(f"left out: {file} {reason}\n")
    for file, treatment in recordings.treated:
        sys.stderr.write(f"used in part: {file}, {treatment}\n")


def _report_recordings(collected: Collected) -> None:
    _report_faults(collected)
    kinds = Counter(row["kind"] for row in collected.rows)
    seconds = sum(float(row["seconds"]) for row in collected.rows)
    sys.stdout.write(
        f"{len(collected.rows)} recordings of {len({row['class'] for row in collected.rows})} classes, "
        f"{seconds / 60:.1f} minutes: {kinds['one-shot']} one-shot, {kinds['sustained']} sustained; "
        f"{len(collected.treated)} used in part, {len(collected.refused)} left out\n"
    )


def _teach(args: argparse.Namespace) -> int:
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from prismaudio import pretrained
    from prismaudio.cli.fit import quiet
    from prismaudio.cli.termination import Terminated
    from prismaudio.paths import expanded
    from prismaudio_studio.teaching import TeachingOptions, check_target, save_model, teach
    from prismaudio_studio.widening import like_class, plan_grid, usable_noun
    from prismaudio_studio.world.folder import FEW, find_recordings

    model, out = pretrained.find(args.model), expanded(args.out)
    check_target(out, model.folder, force=args.force)
    parts, _ = pretrained.load(args.model)
    classes = plan_grid(parts)[1].classes
    like, noun = like_class(args.like, classes), usable_noun(args.noun, classes)
    found = find_recordings(expanded(args.folder), parts["autoencoder"].sample_rate_hz)
    _report_faults(found)
    if len(found.files) < FEW:
        sys.stderr.write(
            f"only {len(found.files)} can be used: all sounds of {noun} are made from so few; add others\n"
        )
    options = TeachingOptions(args.steps, args.clips, args.batch_size, args.learning_rate, args.seed, args.precision)
    quiet()
    try:
        taught = teach(parts, noun, like, found.files, options)
    except SIGTERMException as error:  # Lightning handles the signal at the end of a batch
        raise Terminated from error
    save_model(out, taught.parts, model.folder)
    changes = zip((noun, like, "all others"), (taught.loss, taught.alike, taught.others), strict=True)
    losses = (f"{name} {before:.3f} -> {after:.3f}" for name, (before, after) in changes)
    sys.stdout.write(
        f"{out} has {noun}, of {len(found.files)} recordings; loss on held-out scenes, with these recordings, of "
        f"{', '.join(losses)}\n"
    )
    return 0
