"""The semantic reward: similarity of audio and plan."""

from __future__ import annotations

from typing import Literal

from prismaudio.errors import PrismAudioError
from prismaudio.rewards.shared_space import CosineReward, SharedSpace
from prismaudio.rewards.tokens import Tokenize
from prismaudio_laion_clap.network import LaionClap
from prismaudio_laion_clap.published import TOKENIZER, load


class LaionClapReward(CosineReward):
    """Cosine similarity of audio and plan by LAION-CLAP.

    Args:
        weights: ``music_speech_audioset_epoch_15_esc_89.98`` or ``630k-audioset-fusion-best``, the file of one of
            these or of weights in the format of transformers, a folder with it, or a repository of the hub with it
            (``laion/clap-htsat-unfused``); None for the first.
        tokenizer: The ``tokenizer.json`` of RoBERTa, a folder with it, or a repository of the hub; None for the default
            locations; or a tokenizer.
        text: ``"section"`` to compare with the section of the semantic dimension, ``"plan"`` with the whole plan.
        network: A network to use instead of ``weights``; for the native implementation.
        implementation: ``"native"``, which needs no other package, or ``"official"``, the package ``laion-clap`` of the
            authors with its front end, installed by ``prismaudio-laion-clap[official]``, for weights in the format of
            LAION; the scores are the same within 2e-6. Nothing is downloaded by it, and long audio and texts are cut in
            the same way.
    """

    published_tokenizer = TOKENIZER

    def __init__(
        self,
        weights: str | None = None,
        tokenizer: str | Tokenize | None = None,
        text: Literal["section", "plan"] = "section",
        network: LaionClap | None = None,
        implementation: Literal["native", "official"] = "native",
    ) -> None:
        super().__init__(make_space(implementation, weights, network), TOKENIZER.load(tokenizer), text)


def make_space(implementation: str, weights: str | None, network: LaionClap | None) -> SharedSpace:
    """The network of the implementation that an option names.

    Raises:
        PrismAudioError: The implementation of the authors is given a network of this one.
        BrokenPluginError: The package of the authors cannot be imported.
        CheckpointError: The weights cannot be found, or are those of another network.
    """
    if implementation == "native":
        return load(weights) if network is None else network.eval()
    if network is not None:
        raise PrismAudioError("implementation official makes its own network; give weights, or leave network out")
    from prismaudio_laion_clap.official import OfficialClap

    return OfficialClap(weights)
