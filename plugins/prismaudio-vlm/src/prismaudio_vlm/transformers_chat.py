"""Questions to vision-language models of transformers, on this machine."""

from __future__ import annotations

import copy
import gc
import importlib
import itertools
import re
import statistics
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
import transformers
from PIL import Image
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList
from transformers.video_utils import VideoMetadata

from prismaudio.checkpoints import within
from prismaudio.devices import find_device
from prismaudio.errors import CheckpointError, PlanError, PrismAudioError, one_line, print_traceback, with_class
from prismaudio_vlm.chat import AUDIO_RATE_HZ, Answer, Chat, Question, View, without_thinking
from prismaudio_vlm.model_folders import AdapterFolder, ModelFolder

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

Message = dict[str, Any]

INDEX_RATE = 1000
"""Frames per second of the videos of which processors are told: indices of frames are times in milliseconds."""
THINKING_TAIL = 16
"""Number of tokens of the end of a prompt in which a thought may begin."""
_TILING = ("do_image_splitting", "crop_to_patches")
"""What image processors call the division of an image into tiles, which families leave out in videos."""
_SECONDS_PER_GRID = ("second_per_grid_ts", "video_second_per_grid")
"""What processors of Qwen2.5 and Qwen-Omni call the time between positions of a video."""


class TransformersChat(Chat):
    """Asks a vision-language model of transformers, such as Qwen3-VL, Qwen-Omni, Gemma or SmolVLM.

    Nothing is loaded before the first question.

    Args:
        model: A folder in transformers' layout with safetensors weights, or ``owner/name`` on the Hugging Face hub.
        revision: Branch, tag or commit of a repository.
        adapter: A folder in peft's layout, or ``owner/name``, with adapters that were trained on this model; they are
            merged into its weights.
        device: Where the model runs: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` ...
        dtype: ``auto`` for that of the weights, ``bf16`` or ``fp32``.
        quantisation: ``4bit`` or ``8bit`` for weights quantised when they are loaded, by the package bitsandbytes.
        offload: Whether the layers for which a GPU has no memory stay in that of the CPU, then on disk.
        max_memory: With ``offload``, the memory to use of each GPU and the CPU, such as ``{"0": "8GiB", "cpu":
            "24GiB"}``; None for all of it.
        offload_folder: With ``offload``, a folder for the layers that stay on disk.
        batch_size: Number of questions that are answered at a time; halved where memory does not suffice.
        max_tokens: Maximum length of an answer, in tokens.
        temperature: Temperature of sampling; 0 for the most probable tokens.
        seed: Seed of sampling; an answer does not depend on the questions that are answered with it.
        frames_as: ``video`` for the family's own form, which needs torchvision, ``images`` for one image a frame, each
            with its time, and ``auto`` for ``video`` where that is possible.

    Raises:
        ValueError: A number is out of its range, or an option applies to another only.
    """

    not_in_folders = frozenset({"offload_folder"})
    needs_frames = True

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        *,
        adapter: str | None = None,
        device: str = "auto",
        dtype: Literal["auto", "bf16", "fp32"] = "auto",
        quantisation: Literal["4bit", "8bit"] | None = None,
        offload: bool = False,
        max_memory: dict[str, str] | None = None,
        offload_folder: str | None = None,
        batch_size: int = 4,
        max_tokens: int = 512,
        temperature: float = 0.0,
        seed: int = 0,
        frames_as: Literal["auto", "video", "images"] = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        within(1, 1024, batch_size=batch_size)
        within(1, 100_000, max_tokens=max_tokens)
        within(0, 10, temperature=temperature)
        if (max_memory or offload_folder) and not offload:
            raise ValueError("max_memory and offload_folder apply to offload: true only")
        if adapter is not None and quantisation is not None:
            raise ValueError("adapter is merged into the weights, which quantisation does not allow; use one of them")
        self.model, self.revision, self.device = model, revision, device
        self.adapter, self.dtype, self.quantisation = adapter, dtype, quantisation
        self.offload, self.max_memory, self.offload_folder = offload, max_memory, offload_folder
        self.batch_size, self.max_tokens, self.temperature, self.seed = batch_size, max_tokens, temperature, seed
        self.frames_as = frames_as
        self._processor: Any = None
        self._network: Any = None

    @cached_property
    def folder(self) -> ModelFolder:
        """The model; of a repository its small files are downloaded."""
        return ModelFolder(self.model, self.revision, needs_frames=self.needs_frames)

    @cached_property
    def adapter_folder(self) -> AdapterFolder | None:
        """The adapters; None for none."""
        return None if self.adapter is None else AdapterFolder(self.adapter)

    @property
    def model_name(self) -> str:
        """The repository of the model, or the name of its folder."""
        return self.folder.name

    @property
    def hears(self) -> bool:
        """Whether the model takes audio."""
        return self.folder.hears

    @cached_property
    def shows_video(self) -> bool:
        """Whether frames are shown as videos, else as images."""
        if self.frames_as == "images" or (self.frames_as == "auto" and not self.folder.takes_video):
            return False
        if not self.folder.takes_video:
            raise CheckpointError(f"{self.model} has no form for videos; use frames_as: images")
        try:
            importlib.import_module("torchvision")
        except Exception as error:  # one of another torch raises errors of many kinds
            if self.frames_as == "auto":
                return False
            raise CheckpointError(
                f"frames_as: video needs torchvision ({one_line(error, 160)}): pip install 'prismaudio-vlm[video]', or "
                "use frames_as: images"
            ) from error
        return True

    @property
    def identity(self) -> str:
        """Model, version of its files, settings of answers, and the version of transformers."""
        settings = {
            "adapter": None if self.adapter_folder is None else self.adapter_folder.version,
            "dtype": self.dtype,
            "quantisation": self.quantisation,
            "frames_as": "video" if self.shows_video else "images",
            "max_tokens": self.max_tokens,
            "temperature": self.temperature or None,
            "seed": self.seed if self.temperature else None,
            "transformers": transformers.__version__,
        }
        stated = ", ".join(f"{key} {value}" for key, value in settings.items() if value is not None)
        return f"{self.folder.name}@{self.folder.version} ({stated})"

    def answer(self, questions: Sequence[Question]) -> list[Answer | PrismAudioError]:
        """Answer questions, in batches of those with the same kinds of input; see the base class."""
        if questions:
            self._load()
        answers: dict[int, Answer | PrismAudioError] = {}
        kinds: dict[object, list[int]] = {}
        for index, question in enumerate(questions):
            if (refusal := self._refusal(question)) is not None:
                answers[index] = refusal
            else:
                kinds.setdefault(self.kind_of(question), []).append(index)
        for indices in kinds.values():
            indices.sort(key=lambda index: num_frames(questions[index]))  # the less padding
            for start in range(0, len(indices), self.batch_size):
                batch = indices[start : start + self.batch_size]
                answers |= zip(batch, self._answer([questions[index] for index in batch]), strict=True)
        return [answers[index] for index in range(len(questions))]

    @staticmethod
    def kind_of(question: Question) -> object:
        """What questions have in common that can be batched: frames or none, audio or none."""
        return num_frames(question) > 0, question.audio is not None

    def resampled(self, temperature: float) -> Self:
        """The same with another seed, and with the same network in memory; see the base class."""
        self._load()
        other = copy.copy(self)
        vars(other)["_modules"] = dict(self._modules) if isinstance(self, torch.nn.Module) else {}
        vars(other).update(self.other_sampling(temperature))
        return other

    def unload(self) -> None:
        """Free the memory of the model; the next question loads it again."""
        self._processor = self._network = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _load(self) -> None:
        if self._network is not None:
            return
        device = find_device(self.device)
        processor = self.folder.load_processor(with_video=self.shows_video)
        self._template = ChatTemplate(processor)
        self._network = self.folder.load_network(
            device,
            self.dtype,
            self.quantisation,
            offload=self.offload,
            max_memory=self.max_memory,
            offload_folder=self.offload_folder,
        )
        if self.adapter_folder is not None:
            self._network = self.adapter_folder.merge_into(self._network, self.folder)
        self._processor = processor
        stated = self._network.generation_config.eos_token_id
        ends = {processor.tokenizer.eos_token_id, *(stated if isinstance(stated, list) else [stated])} - {None}
        # what the model's own generation_config says besides, such as to sample, does not apply
        self._network.generation_config = GenerationConfig(
            do_sample=False,
            max_new_tokens=self.max_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=processor.tokenizer.pad_token_id,
        )

    def _refusal(self, question: Question) -> PrismAudioError | None:
        """Why a question cannot be asked."""
        if question.audio is None:
            return None
        if not self.hears:
            return PlanError(
                f"{self.model} takes no audio; ask without it, or use a model that hears, such as Qwen-Omni"
            )
        extractor = getattr(self._processor, "feature_extractor", None) or self._processor.audio_processor
        if extractor.sampling_rate != AUDIO_RATE_HZ:
            return PlanError(f"{self.model} takes audio at {extractor.sampling_rate} Hz; expected {AUDIO_RATE_HZ} Hz")
        max_samples = getattr(extractor, "n_samples", None)  # longer audio would be cut
        if max_samples is not None and len(question.audio) > max_samples:
            return PlanError(
                f"the audio has {len(question.audio) / AUDIO_RATE_HZ:.1f} s; {self.model} takes at most "
                f"{max_samples / AUDIO_RATE_HZ:.1f} s"
            )
        return None

    def _answer(self, questions: Sequence[Question]) -> list[Answer | PrismAudioError]:
        """The answers of a batch; one that fails is halved, down to the questions that fail alone."""
        try:
            return [*self._generate(questions)]
        except Exception as error:  # noqa: BLE001 - processors and networks raise errors of many kinds
            print_traceback(error)
            failure = self._explained(error, questions[0])
        if len(questions) == 1:
            return [failure]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = len(questions) // 2
        return self._answer(questions[:half]) + self._answer(questions[half:])

    def _explained(self, error: Exception, question: Question) -> PrismAudioError:
        if isinstance(error, PrismAudioError):
            return error.with_traceback(None)  # which would keep what the network was given in memory
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            return PlanError(
                f"the memory does not suffice for a question with {num_frames(question)} frames to {self.model}; show "
                "fewer or smaller frames, or use quantisation: 4bit or offload: true"
            )
        return PlanError(f"{self.model} cannot answer: {with_class(error, 400)}")

    def _generate(self, questions: Sequence[Question]) -> list[Answer]:
        network, tokenizer = self._network, self._processor.tokenizer
        inputs = self._inputs(questions)
        prompt_tokens = inputs["attention_mask"].sum(1).tolist()
        limit = self.folder.max_positions
        if limit is not None and max(prompt_tokens) + self.max_tokens > limit:
            raise PlanError(
                f"a question with {num_frames(questions[-1])} frames has {max(prompt_tokens):,} tokens and its answer "
                f"up to {self.max_tokens:,}; {self.model} reads {limit:,}: show fewer or smaller frames"
            )
        sampling = [Sampling(self.temperature, self.seed, len(questions))] if self.temperature else []
        is_sharded = isinstance(network, FSDPModule)
        with torch.no_grad() if is_sharded else torch.inference_mode():
            tokens = network.generate(
                **inputs,
                logits_processor=LogitsProcessorList(sampling),
                synced_gpus=is_sharded,  # each step gathers weights from all processes
            )
        if not network.config.is_encoder_decoder:
            tokens = tokens[:, inputs["input_ids"].shape[1] :]
        ends, answers = network.generation_config.eos_token_id, []
        for row, prompt, count in zip(tokens.tolist(), inputs["input_ids"].tolist(), prompt_tokens, strict=True):
            length = next((index for index, token in enumerate(row) if token in ends), None)
            text = tokenizer.decode(row[:length], skip_special_tokens=True, clean_up_tokenization_spaces=False)
            text = without_thinking(text, tokenizer.decode(prompt[-THINKING_TAIL:]))
            num_tokens = len(row) if length is None else length + 1
            answers.append(Answer(text, count, num_tokens, is_complete=length is not None))
        return answers

    def _inputs(self, questions: Sequence[Question]) -> dict[str, Any]:
        """What the network is given."""
        views = [view for question in questions for view in self._views(question)]
        options: dict[str, Any] = {"padding": True}
        if views and self.shows_video:
            options |= {"do_sample_frames": False, "video_metadata": [_metadata(view) for view in views]}
            if hasattr(self._processor.video_processor, "cap_pixels_per_frame"):
                options["videos_kwargs"] = {"cap_pixels_per_frame": True}  # as in the published code of Qwen
        elif views:
            tiling = {name: False for name in _TILING if hasattr(self._processor.image_processor, name)}
            options |= {"images_kwargs": tiling} if tiling else {}
        prepared = self._processor.apply_chat_template(
            [self._conversation(question) for question in questions],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs=options,
            **self._template.options,
        )
        for name in _SECONDS_PER_GRID:
            if name in prepared:  # of the frames that are shown, where processors assume one rate, or that of the file
                patch = self._processor.video_processor.temporal_patch_size
                prepared[name] = torch.tensor([patch * _interval_s(view) for view in views])
        network = self._network
        return {
            name: value.to(network.device, network.dtype if value.is_floating_point() and value.ndim > 1 else None)
            if isinstance(value, Tensor)
            else value
            for name, value in prepared.items()
        }

    def _conversation(self, question: Question) -> list[Message]:
        """The messages of a question, with its frames and its audio."""
        content: list[Message] = []
        for view in self._views(question):
            lead = "\n" if content else ""
            if self.shows_video:
                times = ", ".join(f"{time_s:.2f}" for time_s in dict.fromkeys(view.times_s))
                content += [_text(f"{lead}{view.label or 'The clip'} (frames at {times} s):")]
                content += [{"type": "video", "video": view.frames}]
                continue
            lead += f"{view.label}:\n" if view.label else ""
            for frame, time_s in zip(view.frames, view.times_s, strict=True):
                image = Image.fromarray(frame.permute(1, 2, 0).cpu().numpy())
                content += [_text(f"{lead}{time_s:.2f} s:"), {"type": "image", "image": image}]
                lead = "\n"
        if question.audio is not None:
            content += [_text("\nThe audio of the clip:" if content else "The audio of the clip:")]
            content += [{"type": "audio", "audio": question.audio.float().cpu().numpy()}]
        content += [_text(("\n" if content else "") + self._template.plain(question.text))]
        return self._template.messages(question.system, content, question.corrections)

    def _views(self, question: Question) -> list[View]:
        """The views with frames; in videos the last frame is repeated to whole steps of the network."""
        views = [view for view in question.views if len(view.frames)]
        if not self.shows_video:
            return views
        step = getattr(self._processor.video_processor, "temporal_patch_size", None) or 1
        padded = []
        for view in views:
            rest = -len(view.frames) % step
            frames = torch.cat([view.frames, *[view.frames[-1:]] * rest])
            padded.append(View(frames, (*view.times_s, *view.times_s[-1:] * rest), view.label))
        return padded


class ChatTemplate:
    """The chat template of a processor, and the form of messages that it can show.

    Args:
        processor: A processor of transformers with a chat template.

    Raises:
        CheckpointError: The template shows neither form of a conversation.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        stated = processor.chat_template
        source = str(stated["default"] if isinstance(stated, dict) and "default" in stated else stated)
        self.options = {"enable_thinking": False} if re.search(r"\benable_thinking\b", source) else {}
        """Arguments of the template."""
        special = {token.content for token in processor.tokenizer.added_tokens_decoder.values() if token.special}
        tokens = sorted(special | {*processor.all_special_multimodal_tokens}, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, tokens)) or r"(?!)")
        for self._system, self._are_lists in itertools.product(("blocks", "text", "user"), (True, False)):
            if self._shows_all():
                return
        raise CheckpointError(
            "the chat template shows no conversation of a system text, a question, an answer and a correction; use "
            "another model, or another chat_template.jinja in its folder"
        )

    def plain(self, text: str) -> str:
        """A text without the special tokens of the model, which would be read as frames or as the end of a message."""
        return self._special.sub("", text)

    def messages(
        self, system: str, content: list[Message], corrections: Sequence[tuple[str, str]] = ()
    ) -> list[Message]:
        """The messages of a question; earlier answers are turns of the model, their corrections of the user."""
        system = self.plain(system)
        turns: list[Message] = []
        if system and self._system == "user":
            content = [_text(f"{system}\n\n"), *content]
        elif system:
            turns = [{"role": "system", "content": [_text(system)] if self._system == "blocks" else system}]
        turns += [{"role": "user", "content": content}]
        for answer, correction in corrections:
            said = self.plain(answer)
            turns += [{"role": "assistant", "content": [_text(said)] if self._are_lists else said}]
            turns += [{"role": "user", "content": [_text(self.plain(correction))]}]
        return turns

    def completion(self, answer: str, ends: Collection[int]) -> list[int]:
        """The tokens that a model is trained to write after a question: its answer, and the token that ends it.

        Args:
            answer: The answer.
            ends: Tokens that end an answer; the one that the template writes is taken, or else that of the tokenizer.
        """
        tokenizer = self._processor.tokenizer
        question, marker = [_text("question")], "text-of-an-answer"
        conversation = [
            *self.messages("", question),
            {"role": "assistant", "content": [_text(marker)] if self._are_lists else marker},
        ]
        rest = self._processor.apply_chat_template(conversation, **self.options).rpartition(marker)[2]
        after = tokenizer.encode(rest, add_special_tokens=False)
        end = next((token for token in after if token in ends), tokenizer.eos_token_id)
        return [*tokenizer.encode(self.plain(answer), add_special_tokens=False), end]

    def _shows_all(self) -> bool:
        """Whether the template shows all texts of a conversation, in order."""
        system, question, answer, correction = texts = [f"text-{number}-of-four" for number in range(1, 5)]
        conversation = self.messages(system, [_text(question)], [(answer, correction)])
        try:
            shown = self._processor.apply_chat_template(conversation, add_generation_prompt=True, **self.options)
        except Exception:  # noqa: BLE001 - a template is a program, which raises what it likes
            return False
        return re.findall(r"text-\d-of-four", shown) == texts and "'type'" not in shown


class Sampling(LogitsProcessor):
    """Adds Gumbel noise to logits, so that the greatest is a sample; each row of a batch has noise of its own.

    Args:
        temperature: Temperature of the distribution, positive.
        seed: Seed of the noise of each row.
        n_rows: Number of rows of the batch.
    """

    def __init__(self, temperature: float, seed: int, n_rows: int) -> None:
        self.temperature = temperature
        self._generators = [torch.Generator().manual_seed(seed) for _ in range(n_rows)]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Logits ``(rows, tokens)`` whose greatest is a sample."""
        waits = [torch.empty(scores.shape[1]).exponential_(generator=generator) for generator in self._generators]
        return scores.float() / self.temperature - torch.stack(waits).log().to(scores.device)


def _text(text: str) -> Message:
    return {"type": "text", "text": text}


def num_frames(question: Question) -> int:
    """Number of frames of a question."""
    return sum(len(view.frames) for view in question.views)


def _interval_s(view: View) -> float:
    """Median time between frames that differ in time; 1 if there is one."""
    times = [*dict.fromkeys(view.times_s)]
    return statistics.median(b - a for a, b in itertools.pairwise(times)) if len(times) > 1 else 1.0


def _metadata(view: View) -> VideoMetadata:
    """What a processor is told about a video: an index divided by the rate is the time of a frame."""
    indices = [round(time_s * INDEX_RATE) for time_s in view.times_s]
    total = indices[-1] + max(1, round(_interval_s(view) * INDEX_RATE))
    height, width = view.frames.shape[-2:]
    return VideoMetadata(
        total_num_frames=total,
        fps=float(INDEX_RATE),
        width=width,
        height=height,
        duration=total / INDEX_RATE,
        video_backend="pyav",
        frames_indices=indices,
    )
