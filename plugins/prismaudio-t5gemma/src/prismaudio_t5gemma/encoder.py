"""The encoder of the text stream."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

from prismaudio.checkpoints import Configured, MetaTensors
from prismaudio.encoders.base import Encoder
from prismaudio.errors import CheckpointError, one_line
from prismaudio.plan.sections import tag
from prismaudio_t5gemma.networks import FOLDER, SIZES, TOKENIZER, build, load_weights, read_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from prismaudio.plan import Plan
    from prismaudio.types import Clip

RANDOM = "random"
MAX_PAIRS = 1 << 22
"""Maximum of batch × tokens², for which the attention logits of T5-Gemma L have 256 MB; a longer text is alone."""


class T5GemmaEncoder(Configured, nn.Module, Encoder):
    """Last hidden state of the encoder of T5-Gemma, or of a T5, for the tokens of a plan; no text is truncated.

    The features of a text are computed once and kept in memory, up to :attr:`cache_bytes`.

    Args:
        weights: A folder in transformers' layout with T5-Gemma or T5, whole or the encoder alone, a folder that has
            ``t5gemma-l-l-ul2-it``, or ``owner/name`` of either on the Hugging Face hub, such as ``google-t5/t5-base``;
            None for ``google/t5gemma-l-l-ul2-it``, ``"random"`` to draw them (and take each byte as a token), and
            ``""`` when they are loaded afterwards, as a model folder does.
        revision: Branch, tag or commit of a hub repository, such as ``refs/pr/2``.
        soft_cap: Whether T5-Gemma caps its attention logits as its ``config.json`` says. False as in the features of
            the published model, for the versions of transformers of its time leave out the cap; later ones apply it.
        sizes: ``model_type`` (``t5gemma`` or ``t5``) and the sizes of its encoder, named as in ``config.json``, where
            ``weights`` does not say them; those of T5-Gemma L by default.
        tokenizer_bytes: Size of the tokenizer, which is saved with the weights; only for ``weights=""``.

    Source:
        The ``text_features`` of the published preprocessing. Differs: padding is masked, so that features do not
        depend on the batch.
    """

    tokenizer_json: Tensor
    """The ``tokenizer.json`` in UTF-8, uint8, so that a model folder is complete."""
    rate_hz = None
    reads_plan = True
    cache_bytes = 256_000_000
    """Maximum size of the features in memory; those that were not used for the longest time are dropped."""

    def __init__(
        self,
        weights: str | None = None,
        revision: str | None = None,
        *,
        soft_cap: bool = False,
        sizes: dict[str, Any] | None = None,
        tokenizer_bytes: int = 0,
    ) -> None:
        super().__init__()
        folder = None if weights in {RANDOM, ""} else FOLDER.find(weights, revision)
        if folder is not None:
            sizes = read_sizes(folder)
        sizes = sizes or {}
        self.sizes = SIZES | sizes if sizes.get("model_type", "t5gemma") == "t5gemma" else sizes
        if weights == RANDOM:
            self.network, self.dim = build(self.sizes, soft_cap=soft_cap)
        else:
            with MetaTensors(100_000):
                self.network, self.dim = build(self.sizes, soft_cap=soft_cap)
        self.vocab_size = len(self.network.get_parameter("embed_tokens.weight"))
        tokenizer = torch.zeros(tokenizer_bytes, dtype=torch.uint8)
        if weights == RANDOM:
            tokenizer = _as_tensor(_byte_tokenizer(self.vocab_size))
        elif folder is not None:
            load_weights(self.network, folder)
            tokenizer = _as_tensor(_read_tokenizer(folder / TOKENIZER))
        self.register_buffer("tokenizer_json", tokenizer)
        self.eval().requires_grad_(requires_grad=False)
        self._tokenizer: Tokenizer | None = None
        self._cache: OrderedDict[tuple[str, torch.dtype], Tensor] = OrderedDict()
        self.register_load_state_dict_pre_hook(_forget)
        self.config = {
            "weights": "",  # they are saved with the model
            "revision": None,
            "soft_cap": soft_cap,
            "sizes": self.sizes,
            "tokenizer_bytes": len(tokenizer),
        }

    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Features ``(tokens, dim)`` of :func:`text_of` a plan; ``(0, dim)`` of an empty plan."""
        return self.encode_texts([text_of(plan)])[0]

    def encode_batch(self, clips: Sequence[Clip], plans: Sequence[Plan]) -> list[Tensor]:
        """Features ``(tokens, dim)`` of each plan; equal texts are encoded once."""
        return self.encode_texts([text_of(plan) for plan in plans])

    def encode_texts(self, texts: Sequence[str]) -> list[Tensor]:
        """Features float32 ``(tokens, dim)`` of each text, on the device of the network.

        Raises:
            CheckpointError: There are no weights yet.
        """
        weight = next(self.network.parameters())
        if weight.is_meta:
            raise CheckpointError("T5GemmaEncoder has no weights yet; name their folder, or load a model that has them")
        wanted = dict.fromkeys(texts)
        found = {text: self._cache[text, weight.dtype] for text in wanted if (text, weight.dtype) in self._cache}
        missing = {text: self._tokens(text) for text in wanted if text and text not in found}
        for group in _groups(missing):
            found |= self._encode({text: missing[text] for text in group}, weight.device)
        for text in filter(None, wanted):
            self._cache[text, weight.dtype] = found[text]
            self._cache.move_to_end((text, weight.dtype))
        size = sum(features.nbytes for features in self._cache.values())
        while size > self.cache_bytes:
            size -= self._cache.popitem(last=False)[1].nbytes
        found[""] = torch.zeros(0, self.dim)
        return [found[text].to(weight.device) for text in texts]

    def _encode(self, tokens: dict[str, list[int]], device: torch.device) -> dict[str, Tensor]:
        """Features of a few texts, on the CPU."""
        ids = torch.zeros(len(tokens), max(map(len, tokens.values())), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, mask_row, numbers in zip(ids, mask, tokens.values(), strict=True):
            row[: len(numbers)] = torch.tensor(numbers)
            mask_row[: len(numbers)] = 1
        # features are kept, and those of the inference mode could not be used in training
        with torch.inference_mode(mode=False), torch.no_grad():
            hidden = self.network(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
            rows = hidden.float().cpu()
            return {text: row[: len(ids)].clone() for (text, ids), row in zip(tokens.items(), rows, strict=True)}

    def _tokens(self, text: str) -> list[int]:
        if self._tokenizer is None:
            self._tokenizer = _parsed(self.tokenizer_json.cpu().numpy().tobytes(), "the tokenizer of the model folder")
        ids = self._tokenizer.encode(text).ids
        if max(ids, default=0) >= self.vocab_size:
            raise CheckpointError(
                f"the tokenizer knows more than the {self.vocab_size} tokens of the network; both must be of one folder"
            )
        return ids


def text_of(plan: Plan) -> str:
    r"""The text of a plan as the published model was trained on: sections with their tags, in one line.

    A plan with nothing but a semantic section, which is what a prompt without a planner becomes, is the text of that
    section without a tag. Unlike in ``str(plan)``, characters of sections are not escaped.

    Example:
        >>> from prismaudio.plan import Plan
        >>> text_of(Plan({"semantic": "A dog <3 barks.", "spatial": "From the left."}))
        '<Semantic> A dog <3 barks. <Spatial> From the left.'
        >>> text_of(Plan({"semantic": "A dog barks."}))
        'A dog barks.'
    """
    if plan.keys() == {"semantic"}:
        return plan["semantic"]
    return " ".join(f"{tag(name)} {text}".rstrip() for name, text in plan.items())


def _groups(tokens: dict[str, list[int]]) -> Iterator[list[str]]:
    """Texts that are encoded together, of similar lengths."""
    group: list[str] = []
    for text in sorted(tokens, key=lambda text: -len(tokens[text])):
        longest = len(tokens[group[0] if group else text])
        if group and (len(group) + 1) * longest**2 > MAX_PAIRS:
            yield group
            group = []
        group.append(text)
    if group:
        yield group


def _forget(module: nn.Module, *_: object) -> None:
    """Drop what depends on weights that are replaced."""
    if isinstance(module, T5GemmaEncoder):
        module._cache.clear()  # noqa: SLF001 - a hook of this class
        module._tokenizer = None  # noqa: SLF001


def _read_tokenizer(path: Path) -> Tokenizer:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {one_line(error)}") from error
    return _parsed(data, str(path))


def _parsed(data: bytes, source: str) -> Tokenizer:
    """A tokenizer from its JSON, which contains no code."""
    try:
        tokenizer = Tokenizer.from_str(data.decode())
    except Exception as error:  # the package raises errors of many kinds
        raise CheckpointError(f"{source} is not a tokenizer.json: {one_line(error, 160)}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _as_tensor(tokenizer: Tokenizer) -> Tensor:
    return torch.from_numpy(np.frombuffer(tokenizer.to_str().encode(), np.uint8).copy())


def _byte_tokenizer(vocab_size: int) -> Tokenizer:
    """A tokenizer of bytes, for weights that are drawn."""
    ids = {letter: index % vocab_size for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizer
