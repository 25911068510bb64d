"""Fine-tuning of language models to write plans: what is trained, labels, and the loss."""

from __future__ import annotations

import copy
import inspect
import logging
import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.functional import cross_entropy, pad

from prismaudio.checkpoints import within
from prismaudio.components import Dimension
from prismaudio.downloads import is_repository
from prismaudio.errors import CheckpointError, DataError, RecipeError
from prismaudio.paths import expanded
from prismaudio.plan.sections import tag
from prismaudio.planners.base import TrainablePlanner
from prismaudio.training.lora import Adapters, inject, merged
from prismaudio.training.sharding import max_over_processes, mean_over_processes, whole_state
from prismaudio_vlm.asking import Prompts
from prismaudio_vlm.drafting import SectionRequest
from prismaudio_vlm.model_folders import ADAPTER, save_adapter
from prismaudio_vlm.planner import ChatPlanner
from prismaudio_vlm.transformers_chat import TransformersChat, num_frames

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh

    from prismaudio.plan import Plan
    from prismaudio.types import Clip
    from prismaudio_vlm.chat import Question

LOG = logging.getLogger("prismaudio.training")
PROMPTS = "prompts"
"""Folder with the prompts of a fine-tuned model, among its files."""
_PROJECTOR = re.compile(r"projector|connector|merger|embed_(vision|audio)\.|audio_tower\.proj\b|mlp1\.")
"""Names of the parts that map the features of encoders to the dim of the language model, in the families of
transformers."""
LAYERS = ("layers", "blocks", "layer", "h")
"""What families call the list of the layers of a transformer."""
IGNORED = -100
"""Label of a token that is not trained."""


@dataclass(frozen=True)
class Tuning:
    """What CoT fine-tuning trains.

    Weights that are trained in full are kept in float32, whatever the weights of the model are: a small learning rate
    changes nothing in bfloat16. Use it with precision ``bf16-mixed``.

    Args:
        lora: Low-rank adapters on all linear layers of the language model; None to train the language model in full.
        projector: Train what maps the features of encoders to the language model, in full.
        encoders: Train the encoders of frames and audio, in full.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, a third more time.
        pass_size: Maximum number of questions of a forward pass; those of a batch are sorted by length and divided into
            passes, so that there is little padding. Memory depends on the questions of the whole batch.
    """

    lora: Adapters | None = field(default_factory=lambda: Adapters(alpha=32.0))
    projector: bool = False
    encoders: bool = False
    gradient_checkpointing: bool = False
    pass_size: int = 8


@dataclass(frozen=True, eq=False)
class Example:
    """A question with the answer that is trained.

    Args:
        name: Name of the clip.
        question: The question.
        answer: Tokens of the answer, with the one that ends it.
    """

    name: str
    question: Question
    answer: list[int]


class TrainableChatPlanner(TransformersChat, ChatPlanner, TrainablePlanner):
    """Base class of planners whose language model :class:`prismaudio.training.cot_tuning.CotTuningTask` can fine-tune.

    The model is asked the same questions as when it plans, in the order of the installed dimensions; with one question
    for each section, the sections before it are those of the reference plan. Only the tokens of the answers are
    trained.

    Args:
        model: A folder in transformers' layout with safetensors weights, or ``owner/name`` on the Hugging Face hub. The
            prompts of a fine-tuned model are in its folder ``prompts``, and are used unless others are given.
        revision: Branch, tag or commit of a repository.
        tuning: What is trained.
        kwargs: See :class:`prismaudio_vlm.transformers_chat.TransformersChat` and
            :class:`prismaudio_vlm.planner.ChatPlanner`.
    """

    files_argument = "model"
    not_in_folders = TransformersChat.not_in_folders | {"revision", "adapter", "device", "tuning"}
    takes_whole_clips = True

    def __init__(self, model: str, revision: str | None = None, tuning: Tuning = Tuning(), **kwargs: Any) -> None:
        super().__init__(model=model, revision=revision, **kwargs)
        within(1, 1024, pass_size=tuning.pass_size)
        if self.config["prompts"] is None and (own := expanded(model) / PROMPTS).is_dir():
            self.prompts = Prompts.load(own)
        self.tuning = tuning
        self.dimensions: tuple[Dimension, ...] = ()
        self.training_began = False
        self._dtypes: dict[str, torch.dtype] = {}
        self._merged: dict[str, Tensor] | None = None
        self._reported: set[str] = set()
        self._adapter_config: Any = None

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Move the network, or remember the device until it is loaded."""
        device = torch._C._nn._parse_to(*args, **kwargs)[0]  # noqa: SLF001 - what Module.to reads its arguments with
        if device is not None:
            self.device = str(device)
        return super().to(*args, **kwargs)

    # What is trained ---------------------------------------------------------------------------------------------
    def use_dimensions(self, dimensions: Sequence[Dimension]) -> None:
        """Set the dimensions that are trained, in the order of the sections; see the base class."""
        self.dimensions = tuple(dimensions)

    def prepare_training(self, mesh: DeviceMesh | None = None) -> None:
        """Load the model, insert adapters, freeze what is not trained, and shard; see the base class.

        Raises:
            RecipeError: The model or its options are for inference only, or it lacks what is to be trained.
        """
        if self.training_began:
            return
        if self.quantisation is not None or self.offload:
            raise RecipeError("quantisation and offload are for inference; remove them from the planner to train it")
        self.training_began, self.cache = True, None  # answers change with the weights
        self.device = "cpu"
        with torch.device("cpu"):  # the trainer moves it, and has set its device as the default
            self._load()
            network: Any = self._network
            if network.config.is_encoder_decoder:
                raise RecipeError(f"{self.model} has an encoder and a decoder; expected a model that continues a text")
            self._dtypes = {name: weight.dtype for name, weight in network.named_parameters()}
            self._select(network)
        for weight in network.parameters():
            if weight.requires_grad and weight.is_floating_point():
                weight.data = weight.data.float()
        if self.tuning.gradient_checkpointing:
            network.activation_checkpointing_enable({"use_reentrant": False})
        network.train()
        if mesh is not None:
            shard(network, mesh)
            self.retries = 0  # validation must ask equally often in all processes
        trained = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
        total = sum(weight.numel() for weight in network.parameters())
        rank_zero_info(f"CoT fine-tuning of {self.folder.name}: {trained:,} of {total:,} weights are trained")

    def _select(self, network: Any) -> None:
        """Insert the adapters, and freeze what is not trained."""
        names = {id(module): name for name, module in network.named_modules()}
        decoder = network.get_decoder()
        prefix = names[id(decoder)]
        parts = {name: _part(name, prefix) for name, _ in network.named_parameters()}
        if self.tuning.lora is None:
            network.requires_grad_(requires_grad=False)
            wanted = {"language_model"}
        else:
            layers = [f"{prefix}.{name}" for name, layer in decoder.named_modules() if isinstance(layer, nn.Linear)]
            if not layers:
                raise RecipeError(
                    f"the language model of {self.model} has no linear layers for adapters; train it in full with "
                    "tuning.lora: null"
                )
            self._adapter_config = inject(network, self.tuning.lora, layers)
            rank_zero_info(f"LoRA of rank {self.tuning.lora.rank} on {describe_layers(layers, network)}")
            wanted = set()
        wanted |= {part for part in ("projector", "encoders") if getattr(self.tuning, part)}
        if missing := sorted(wanted - set(parts.values())):
            raise RecipeError(f"{self.model} has no {' and no '.join(missing)} to train; remove it from tuning")
        for name, weight in network.named_parameters():
            if parts.get(name) in wanted:
                weight.requires_grad_(requires_grad=True)

    # The loss ----------------------------------------------------------------------------------------------------
    def loss(self, clips: Sequence[Clip], plans: Sequence[Plan]) -> dict[str, Tensor]:
        """Mean cross-entropy of the tokens of the answers; in training, over those of all processes.

        Raises:
            DataError: A plan has no section to train, or does not fit into the context of the model.
        """
        self._load()
        network: Any = self._network
        examples = [example for pair in zip(clips, plans, strict=True) for example in self._examples(*pair)]
        passes = self._passes(examples)
        n_passes, is_sharded = len(passes), isinstance(network, FSDPModule)
        total = torch.zeros((), device=self._network.device)
        if is_sharded:  # each pass gathers weights from all processes
            n_passes = int(max_over_processes(torch.tensor(n_passes, device=total.device)))
        elif self.training:  # processes average the gradients of all weights
            total = total + 0 * sum(weight.sum() for weight in network.parameters() if weight.requires_grad)
        for index in range(n_passes):
            share = self._cross_entropy(passes[min(index, len(passes) - 1)])
            total = total + (share if index < len(passes) else 0 * share)
        n_tokens = total.new_tensor(sum(len(example.answer) for example in examples))
        return {"text": total / (mean_over_processes(n_tokens) if self.training else n_tokens)}

    def _examples(self, clip: Clip, plan: Plan) -> Iterator[Example]:
        """The questions about a clip, with their answers."""
        known = {dimension.name: dimension for dimension in self.dimensions or [Dimension(name, "") for name in plan]}
        texts = {name: text for name in known if (text := plan.get(name))}
        if not texts:
            raise DataError(
                f"clip {clip.id} has no plan to train on; expected at least one of the sections {', '.join(known)}"
            )
        for name in known:
            if name not in texts and name not in self._reported:
                self._reported.add(name)
                rank_zero_only(LOG.warning)("clip %s has no %s section; others like it are not named", clip.id, name)
        dimensions = [known[name] for name in texts]
        (draft,) = self.drafts([clip], dimensions, [None])
        if len(draft.segments) > 1:
            raise DataError(
                f"clip {clip.id} has {clip.duration_s:.1f} s, which is planned in {len(draft.segments)} segments; "
                f"expected at most segment_s, {self.viewing.segment_s:g} s: cut it, or raise segment_s of the planner"
            )
        if self.hear and draft.audio is None and isinstance(self._network, FSDPModule):
            raise DataError(f"clip {clip.id} has no audio to hear, which sharded training needs of every clip")
        for group in self.groups(dimensions):
            request = SectionRequest(draft, 0, group)
            question = request.question()
            if len(group) == 1 and not draft.cot:
                answer = texts[group[0].name]
            else:
                answer = " ".join(f"{tag(dimension.name)} {texts[dimension.name]}" for dimension in group)
            yield Example(clip.id, question, self._template.completion(answer, self._ends))
            draft.written[0] |= {dimension.name: texts[dimension.name] for dimension in group}

    @property
    def _ends(self) -> list[int]:
        """The tokens that end an answer."""
        ends: list[int] = self._network.generation_config.eos_token_id
        return ends

    def _passes(self, examples: Sequence[Example]) -> list[list[Example]]:
        """Examples of one kind of input and of similar length, at most :attr:`Tuning.pass_size` together."""
        kinds: dict[object, list[Example]] = {}
        for example in examples:
            kinds.setdefault(self.kind_of(example.question), []).append(example)
        passes = []
        for some in kinds.values():
            some.sort(key=lambda example: (num_frames(example.question), len(example.question.text)))
            passes += [some[at : at + self.tuning.pass_size] for at in range(0, len(some), self.tuning.pass_size)]
        return passes

    def _cross_entropy(self, examples: Sequence[Example]) -> Tensor:
        """Cross-entropy of the tokens of the answers, summed; prompts are padded on the left, answers on the right."""
        network = self._network
        inputs = self._inputs([example.question for example in examples])
        width, n_new = inputs["input_ids"].shape[1], max(len(example.answer) for example in examples)
        self._check_length(examples, inputs["attention_mask"].sum(1).tolist())
        filler = self._processor.tokenizer.pad_token_id
        rows = [example.answer + [filler] * (n_new - len(example.answer)) for example in examples]
        answers = torch.tensor(rows, device=network.device)
        lengths = torch.tensor([len(example.answer) for example in examples], device=network.device)
        is_answer = torch.arange(n_new, device=network.device) < lengths[:, None]
        added = {"input_ids": answers, "attention_mask": is_answer.long()}
        for name, value in inputs.items():
            if name in added:
                inputs[name] = torch.cat([value, added[name].to(value)], 1)
            elif torch.is_tensor(value) and value.shape == (len(examples), width):  # kinds of tokens
                inputs[name] = pad(value, (0, n_new))
        if not self.folder.sees and "position_ids" in inspect.signature(type(network).forward).parameters:
            inputs["position_ids"] = (inputs["attention_mask"].cumsum(1) - 1).clamp_min(
                0
            )  # without padding on the left
        head = network.get_output_embeddings()
        last = head.register_forward_pre_hook(lambda _, states: (states[0][:, -n_new - 1 :],))  # prompts have no labels
        try:
            logits = network(**inputs, use_cache=False).logits[:, :-1].float()
        finally:
            last.remove()
        labels = answers.masked_fill(~is_answer, IGNORED)
        return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")

    def _check_length(self, examples: Sequence[Example], prompt_lengths: Sequence[int]) -> None:
        limit = self.folder.max_positions
        for example, length in zip(examples, prompt_lengths, strict=True):
            if limit is not None and length + len(example.answer) > limit:
                raise DataError(
                    f"the question and the plan of clip {example.name} have {length:,} and {len(example.answer):,} "
                    f"tokens; {self.model} reads {limit:,} together: show fewer or smaller frames (max_frames, "
                    "frame_size), or shorten the plan"
                )

    # The result --------------------------------------------------------------------------------------------------
    def trained(self) -> TrainableChatPlanner:
        """The planner with the weights of the whole network, adapters merged, in the data types of the files.

        That of the first process; the others, whose result does not count, keep no copy.
        """
        state = whole_state(self._network)
        if torch.distributed.is_initialized() and torch.distributed.get_rank():
            return self
        if self.tuning.lora is not None:
            state = merged(state, self.tuning.lora)
        done: dict[Any, Tensor] = {}  # tied weights stay tied
        for name, value in state.items():
            key = (value.data_ptr(), value.shape)
            state[name] = done.setdefault(key, value.detach().to("cpu", self._dtypes.get(name, value.dtype)))
        other = copy.copy(self)
        vars(other)["_merged"] = state
        return other

    @property
    def has_files(self) -> bool:
        """Whether the model is one on this machine, or was trained; that of a repository stays there."""
        return self._merged is not None or not is_repository(self.model) or expanded(self.model).exists()

    def save_files(self, folder: Path) -> Mapping[str, Any]:
        """Write the model in transformers' layout, with the prompts that it was asked with; see the base class.

        Raises:
            CheckpointError: The files cannot be written.
        """
        folder.mkdir(parents=True)
        try:
            self.folder.copy_to(folder, self._network, self._merged)
            self.prompts.save(folder / PROMPTS, self.dimensions)
        except OSError as error:
            raise CheckpointError(f"cannot write the model to {folder}: {error.strerror or error}") from error
        return {"prompts": None}  # they are in its folder now

    def save_adapters(self, folder: Path, *, first: bool = True) -> None:
        """Write the adapters to ``adapter`` in a model folder, in peft's layout.

        Nothing is written where other weights changed too, since adapters alone would not be the model.
        """
        if self.tuning.lora is None or self.tuning.projector or self.tuning.encoders or self.adapter is not None:
            if first:
                shutil.rmtree(folder / ADAPTER, ignore_errors=True)  # of an earlier run
            return
        state = whole_state(self._network, ".lora_")
        if first:
            part = folder / f"{ADAPTER}.partial"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            save_adapter(part, state, self._adapter_config, self.folder)
            shutil.rmtree(folder / ADAPTER, ignore_errors=True)
            part.rename(folder / ADAPTER)


def shard(network: nn.Module, mesh: DeviceMesh) -> None:
    """Shard the parameters of a network of transformers over the processes of a mesh, layer by layer."""
    for name, part in network.named_modules():
        if isinstance(part, nn.ModuleList) and name.rpartition(".")[2] in LAYERS:
            for layer in part:
                fully_shard(layer, mesh=mesh)
    fully_shard(network, mesh=mesh, reshard_after_forward=False)


def _part(name: str, decoder: str) -> str:
    """The part of the network that a parameter belongs to."""
    if name.startswith(f"{decoder}.") or "lm_head" in name:
        return "language_model"
    return "projector" if _PROJECTOR.search(name) else "encoders"


def describe_layers(layers: Sequence[str], network: Any) -> str:
    """The layers with adapters, by the last two parts of their names, and how many others have none.

    Args:
        layers: Names of the layers.
        network: The network.
    """
    kinds = Counter(".".join(name.rsplit(".", 2)[-2:]) for name in layers)
    others = sum(isinstance(module, nn.Linear) for module in network.modules()) - 3 * len(layers)
    named = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return f"{len(layers)} linear layers of the language model ({named}); on none of {others} others"
