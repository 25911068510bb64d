"""``prismaudio convert``: convert a checkpoint in the published layout to a model folder."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from prismaudio.cli.arguments import Parser, model_files
from prismaudio.errors import CheckpointError
from prismaudio.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPILOG = """\
IN is prismaudio.ckpt, vae.ckpt, a .safetensors file with the same names (with or without an autoencoder, with or
without a prefix, in any precision, with the old or the new names of weight normalisation), or a model folder. No code
in it is executed, and nothing is written unless all weights fit.

examples:
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
    parser.add_argument("source", metavar="IN", help="the checkpoint, or a model folder")
    parser.add_argument("target", metavar="OUT", help="the model folder to write")
    parser.add_argument("--vae", metavar="FILE", help="autoencoder that replaces the one in IN: vae.ckpt")
    parser.add_argument(
        "--half", choices=("bf16", "fp16"), help="store the transformer's weights in half precision (loaded as float32)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing model")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``prismaudio convert``."""
    options = make_parser().parse_args(argv)
    source, target = expanded(options.source), expanded(options.target)
    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{target} is a file; expected a folder to write the model to")
    written = model_files(str(target))
    if any(path.exists() for path in written) and not options.force:
        raise CheckpointError(f"{target} already contains a model; choose another folder, or add --force")
    if not source.exists():
        raise CheckpointError(f"no such file or folder: {source}")
    import torch

    from prismaudio.checkpoints import save_components
    from prismaudio.media.files import spare
    from prismaudio.pretrained import NEEDED, load_parts
    from prismaudio.pretrained.importing import check_latent_channels, import_autoencoder, import_published

    vae = expanded(options.vae) if options.vae else None
    for path in written:
        spare(path, [*(model_files(str(source)) if source.is_dir() else [source]), *filter(None, [vae])])
    if source.is_dir():
        components = load_parts(source)
        if vae is not None:
            components["autoencoder"] = import_autoencoder(vae)
            if "transformer" in components:
                wanted = components["transformer"].latent_channels
                check_latent_channels(source, wanted, vae, components["autoencoder"].channels)
    else:
        components = import_published(source, vae)
    half_dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, None: torch.float32}[options.half]
    save_components(target, components, ["transformer"] if options.half else [], half_dtype)
    sizes = [f"{name} {_count(part):,}" for name, part in components.items() if isinstance(part, torch.nn.Module)]
    sys.stderr.write(f"{target}: {', '.join(sizes)} parameters\n")
    lacking = [name for name in NEEDED if name not in components]
    if lacking:
        sys.stderr.write(
            f"{target}: incomplete, it has no {' and no '.join(lacking)}, so it cannot generate audio yet\n"
        )
    return 0


def _count(module: object) -> int:
    return sum(weight.numel() for weight in module.parameters())  # type: ignore[attr-defined]
