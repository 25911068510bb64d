"""The semantic reward: similarity of audio and plan."""

from __future__ import annotations

from typing import Literal

from prismaudio.rewards.shared_space import CosineReward
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
        network: A network to use instead of ``weights``.
    """

    published_tokenizer = TOKENIZER

    def __init__(
        self,
        weights: str | None = None,
        tokenizer: str | Tokenize | None = None,
        text: Literal["section", "plan"] = "section",
        network: LaionClap | None = None,
    ) -> None:
        super().__init__(load(weights) if network is None else network.eval(), TOKENIZER.load(tokenizer), text)
