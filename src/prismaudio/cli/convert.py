"""``prismaudio convert``: convert a published checkpoint to a model folder."""

from __future__ import annotations

import argparse
import functools
import sys
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser, add_revision, model_files
from prismaudio.errors import CheckpointError
from prismaudio.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

SUFFIXES = (".ckpt", ".pt", ".pth", ".safetensors")
"""Suffixes of weight files."""
_EPILOG = """\
IN is one of these:
  a file    prismaudio.ckpt, vae.ckpt, or a .safetensors file with the same names (with or without an autoencoder, with
            or without a prefix, in any precision, with the old or the new names of weight normalisation)
  a folder  with the files of FunAudioLLM/PrismAudio, DeepBeepMeep/prismaudio or AEmotionStudio/prismaudio-models, or a
            model folder
  an id     owner/model on the Hugging Face hub, with such files

The encoders whose plugins are installed are part of the result, with their weights. No code in the files is executed,
and nothing is written unless all weights fit.

examples:
  prismaudio convert FunAudioLLM/PrismAudio model
  prismaudio convert prismaudio.ckpt model --vae vae.ckpt
  prismaudio convert prismaudio_bf16.safetensors model --vae vae.ckpt --half bf16
  prismaudio convert model smaller --half bf16
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``prismaudio convert``."""
    parser = Parser(
        "prismaudio convert",
        description="Convert a published checkpoint to a model folder.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="IN", help="a checkpoint: a file, a folder or owner/model on the hub")
    parser.add_argument("target", metavar="OUT", help="the model folder to write")
    add_revision(parser)
    parser.add_argument("--vae", metavar="FILE", help="autoencoder that replaces the one in IN: vae.ckpt")
    parser.add_argument(
        "--half", choices=("bf16", "fp16"), help="store the transformer's weights in half precision (loaded as float32)"
    )
    parser.add_argument(
        "--no-encoders", action="store_true", help="leave the encoders out, for features that are computed elsewhere"
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing model")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio convert``."""
    options = make_parser().parse_args(argv)
    source, target = expanded(options.source), expanded(options.target)
    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{target} is a file; expected a folder to write the model to")
    from prismaudio.media.files import check_writable, spare  # imports torch

    check_writable(target)
    written = model_files(str(target))
    if any(path.exists() for path in written) and not options.force:
        raise CheckpointError(f"{target} already contains a model; choose another folder, or add --force")
    if source.suffix in SUFFIXES and not source.exists():
        raise CheckpointError(f"no such file or folder: {source}")
    import torch

    from prismaudio.checkpoints import save_components
    from prismaudio.pretrained import NEEDED, check_sizes, local_files
    from prismaudio.pretrained.importing import check_latent_channels

    if others := [path.name for path in local_files(target) if path not in written and path.exists()]:
        raise CheckpointError(f"{target} contains {others[0]} of another model; choose another folder")
    vae = expanded(options.vae) if options.vae else None
    files, factories = _open(options, source, vae)
    for path in written:
        spare(path, files)
    components = {name: make() for name, make in factories.items()}
    if vae is not None and "transformer" in components:
        wanted = components["transformer"].latent_channels
        check_latent_channels(source, wanted, vae, components["autoencoder"].channels)
    if all(name in components for name in NEEDED):
        check_sizes(source, components)
    half_dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, None: torch.float32}[options.half]
    save_components(target, components, ["transformer"] if options.half else [], half_dtype)
    sys.stderr.writelines(f"{target}: {line}\n" for line in _summary(options, components))
    return 0


def _open(
    options: argparse.Namespace, source: Path, vae: Path | None
) -> tuple[list[Path], Mapping[str, Callable[[], Any]]]:
    """The files of a model, and a function for each component that loads it."""
    from prismaudio.encoders.base import as_components, by_stream
    from prismaudio.pretrained import find
    from prismaudio.pretrained.importing import import_autoencoder, published_factories

    others = [] if vae is None else [vae]
    if source.is_file():
        if options.revision is not None:
            raise CheckpointError(f"{source} is a file; --revision applies to models on the hub only")
        return [source, *others], published_factories(source, vae)
    model = find(options.source, options.revision)
    factories: dict[str, Callable[[], Any]] = dict(model.factories())
    if vae is not None:
        factories["autoencoder"] = functools.partial(import_autoencoder, vae)
    left_out = as_components(by_stream(factories)) if options.no_encoders else {}
    return [*model.paths.values(), *others], {name: make for name, make in factories.items() if name not in left_out}


def _summary(options: argparse.Namespace, components: dict[str, Any]) -> Iterator[str]:
    """The sizes of the components, and what is missing."""
    import torch

    from prismaudio.pretrained import NEEDED, missing_encoders

    sizes = [f"{name} {_count(part):,}" for name, part in components.items() if isinstance(part, torch.nn.Module)]
    yield f"{', '.join(sizes)} parameters"
    if lacking := [name for name in NEEDED if name not in components]:
        yield f"incomplete, it has no {' and no '.join(lacking)}, so it cannot generate audio yet"
    elif not options.no_encoders and (streams := missing_encoders(components)):
        yield (
            f"it has no encoder for {streams}, so it generates from features only; for videos, install the plugins in "
            "brackets and convert the whole checkpoint, such as FunAudioLLM/PrismAudio"
        )


def _count(module: object) -> int:
    return sum(weight.numel() for weight in module.parameters())  # type: ignore[attr-defined]
