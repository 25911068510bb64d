"""Replays a golden file of the published autoencoder: every tensor in it, whatever its configuration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from parity import read_tensors

from prismaudio.autoencoders.oobleck import OobleckAutoencoder, Posterior
from prismaudio.autoencoders.published import oobleck_weights

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from parity import Golden
    from torch import Tensor

GATE = 1e-5
"""Relative RMS."""
KNOWN = re.compile(r"w/|out/|in/(audio|audio_odd|z)$")


def check_vae(path: Path) -> list[str]:
    """What of a ``vae_*`` file our autoencoder does not reproduce, one line each; empty when all is well."""
    return check_tensors(*read_tensors(path))


def check_tensors(metadata: Golden, tensors: Golden) -> list[str]:
    """The same of what a file holds."""
    given, wanted = tensors.below("in/"), tensors.below("out/")
    codec = model_of(metadata.options(), tensors.below("w/"))
    problems = [f"{name} is neither a weight, an input nor an output" for name in tensors if not KNOWN.match(name)]
    seen = set()
    with torch.inference_mode():
        for name, ours in outputs(codec, given, wanted):
            seen.add(name)
            if name in wanted and (problem := difference(name, ours, wanted[name])):
                problems.append(problem)
    problems += [f"out/{name} is not checked" for name in wanted.keys() - seen]
    return sorted(problems)


def model_of(config: dict, weights: dict[str, Tensor]) -> OobleckAutoencoder:
    """Our autoencoder of a published configuration, with the weights of the file."""
    encoder, decoder = config["encoder"]["config"], config["decoder"]["config"]
    latent, same = config["latent_dim"], {name: encoder[name] for name in ("channels", "c_mults", "strides")}
    wrong = [
        f"{name} = {part[name]}"
        for part, fixed in (
            (encoder, same | {"in_channels": 2, "latent_dim": 2 * latent, "use_snake": True}),
            (decoder, same | {"out_channels": 2, "latent_dim": latent, "use_snake": True, "final_tanh": False}),
        )
        for name in sorted({*fixed, *(name for name in part if part[name])})
        if part[name] != fixed.get(name)
    ]
    if wrong:
        raise ValueError(f"not the published autoencoder, whose decoder mirrors its encoder: {', '.join(wrong)}")
    codec = OobleckAutoencoder(encoder["channels"], encoder["c_mults"], encoder["strides"], config["latent_dim"])
    codec.load_state_dict(oobleck_weights(weights))
    return codec.eval()


def outputs(
    codec: OobleckAutoencoder, given: dict[str, Tensor], wanted: dict[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Our value of everything that a file may hold, by name."""
    audio = given["audio"]
    raw = codec.encoder(audio.unsqueeze(2)).squeeze(2)
    posterior = codec.posterior(audio)
    yield "encoder_raw", raw
    if "audio_odd" in given:
        yield "encoder_raw_odd", codec.encoder(given["audio_odd"].unsqueeze(2)).squeeze(2)
    yield "mean", codec.encode(audio)
    yield "scale", raw.chunk(2, 1)[1]
    yield "std", posterior.std
    yield "kl", posterior.kl().reshape(wanted["kl"].shape)
    yield "eps", wanted["eps"]  # noise that was drawn there: an input of the next line
    yield "latent", Posterior(codec.encode(audio), posterior.std).at(wanted["eps"])
    sound = codec.decode(given["z"])[..., : wanted["decode"].shape[-1]]  # odd strides end early there
    yield "decode", sound
    yield "decode_of_mean", codec.decode(wanted["mean"])[..., : wanted["decode"].shape[-1]]
    yield "demo_int16", (sound / sound.abs().amax()).clamp(-1, 1).mul(32767).to(torch.int16)
    for prefix, network, first in (("enc_layer", codec.encoder, audio), ("dec_layer", codec.decoder, given["z"])):
        hidden = first.unsqueeze(2)
        for index, layer in enumerate(network):
            hidden = layer(hidden)
            yield f"{prefix}/{index}", hidden.squeeze(2)


def difference(name: str, ours: Tensor, theirs: Tensor) -> str:
    """What is wrong with a tensor; empty when it is within its gate."""
    if ours.shape != theirs.shape:
        return f"out/{name} is {tuple(ours.shape)}, expected {tuple(theirs.shape)}"
    if not theirs.is_floating_point():  # whole numbers: a rounding apart at most
        apart = int((ours.long() - theirs.long()).abs().max())
        return f"out/{name} is up to {apart} apart" if apart > 1 else ""
    error = float((ours - theirs).double().norm() / theirs.double().norm())
    return "" if error <= GATE else f"out/{name} differs by {error:.2e}, allowed {GATE:.0e}"
