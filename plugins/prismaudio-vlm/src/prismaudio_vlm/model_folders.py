"""Vision-language models in transformers' layout, in a folder or on the hub: what they see and hear, and loading."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import struct
import warnings
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

import transformers
from safetensors import safe_open
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
    PROCESSOR_MAPPING,
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    AutoProcessor,
    AutoTokenizer,
    BitsAndBytesConfig,
    ProcessorMixin,
)

from prismaudio.devices import PRECISIONS
from prismaudio.downloads import fetch, hub_error, is_repository
from prismaudio.errors import CheckpointError, one_line
from prismaudio.paths import expanded
from prismaudio.training.lora import NAME
from prismaudio.weight_files import listed, save_tensors
from prismaudio.weight_folders import CONFIG, INDEX, MAX_JSON_BYTES, WEIGHTS, PublishedFolder, read_json, shards

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import Tensor

EXAMPLE = PublishedFolder("Qwen/Qwen3-VL-4B-Instruct", size_mb=8900, licence="Apache-2.0")
"""A model that a message can point to."""
_TEXTS = ["*.json", "*.jinja", "*.txt", "*.model"]
"""Files of a model besides the weights: configurations, tokenizer, chat template."""
_SERIES_OF_IMAGES = {"smolvlm", "instructblipvideo"}
"""Families whose videos are images, in SmolVLM with their times in whole seconds and all of one number of frames."""
CHECKED = "5.24"
"""Version of transformers that :func:`without_video` was checked with."""
ADAPTER = "adapter"
"""Folder of the adapters in a model folder."""
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""Files of peft's layout."""
BASE = "base"
"""Key of the metadata of adapters that names the model that they were trained on."""
_PARTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tokenizer": (AutoTokenizer, {}),
    "image_processor": (AutoImageProcessor, {"backend": "pil"}),
    "feature_extractor": (AutoFeatureExtractor, {}),
    "audio_processor": (AutoFeatureExtractor, {}),
}
"""What loads the parts of a processor that do not need torchvision."""
_HASHED_BYTES = 4096
"""Number of bytes of each tensor that identify it; a fine-tuned tensor differs in its first values."""


class ModelFolder:
    """A vision-language model of ``AutoModelForMultimodalLM``, of which no weights are loaded yet.

    Of a repository the small files are downloaded when the folder is made, the weights by :meth:`load_network`. Of the
    models that also speak (Qwen-Omni) it is the half that writes.

    Args:
        model: A folder, or ``owner/name`` on the Hugging Face hub.
        revision: Branch, tag or commit of a repository.
        needs_frames: Whether the model must see frames; a model of ``AutoModelForCausalLM`` only reads.

    Raises:
        CheckpointError: The model cannot be had, is damaged, or does not see frames.
    """

    def __init__(self, model: str | Path, revision: str | None = None, *, needs_frames: bool = True) -> None:
        self.model = str(model)
        self.is_download = is_repository(self.model) and not expanded(self.model).exists()
        if self.is_download:
            self.path = _download_texts(self.model, revision)
        elif not expanded(self.model).exists():
            raise CheckpointError(
                f"no folder {self.model}; expected one with a model in transformers' layout, or owner/name on the "
                f"Hugging Face hub, such as {EXAMPLE.repository}"
            )
        else:
            self.path = EXAMPLE.find(model, revision)
        read_json(self.path / CONFIG)  # says what is wrong with it
        try:
            whole: Any = AutoConfig.from_pretrained(self.path, trust_remote_code=False, local_files_only=True)
        except Exception as error:  # transformers raises errors of many kinds
            raise CheckpointError(f"{self.path / CONFIG} is not valid: {one_line(error, 300)}") from error
        self._whole = whole
        self.config: Any = getattr(whole, "thinker_config", whole)
        self.sees = type(self.config) in MODEL_FOR_MULTIMODAL_LM_MAPPING and "image_processor" in self.processor_parts
        if not needs_frames and not self.sees and type(self.config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise CheckpointError(f"{self.model} is a {self.config.model_type}, which is no language model")
        if needs_frames and not self.sees:
            raise CheckpointError(
                f"{self.model} is a {self.config.model_type}, which does not see frames; expected a vision-language "
                f"model of transformers, such as {EXAMPLE.repository}"
            )

    @cached_property
    def processor_class(self) -> Any:
        """The class of the family that prepares frames, audio and text; None if there is none."""
        for name in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
            if (self.path / name).is_file() and (stated := read_json(self.path / name).get("processor_class")):
                return getattr(transformers, str(stated), None)
        return PROCESSOR_MAPPING.get(type(self._whole), None)

    @cached_property
    def processor_parts(self) -> list[str]:
        """Names of the parts of the processor, such as ``image_processor``."""
        try:
            return [] if self.processor_class is None else self.processor_class.get_attributes()
        except ImportError as error:
            raise CheckpointError(f"the processor of {self.model} needs a package: {one_line(error, 300)}") from error

    @property
    def takes_video(self) -> bool:
        """Whether the family has a form for videos that is more than a series of images."""
        return "video_processor" in self.processor_parts and self.config.model_type not in _SERIES_OF_IMAGES

    @property
    def hears(self) -> bool:
        """Whether the model takes audio."""
        has_part = not {"feature_extractor", "audio_processor"}.isdisjoint(self.processor_parts)
        return has_part and getattr(self.config, "audio_config", None) is not None

    @property
    def max_positions(self) -> int | None:
        """Maximum number of tokens of a question and its answer; None if the configuration does not say it."""
        return getattr(self.config.get_text_config(), "max_position_embeddings", None)

    @property
    def name(self) -> str:
        """The name of the repository, or of the folder without its place."""
        return self.model if self.is_download else self.path.name

    @cached_property
    def version(self) -> str:
        """The commit of a download, else a hash of the small files and of the first bytes of each tensor."""
        if self.is_download:
            return self.path.name[:12]
        digest = hashlib.blake2b(digest_size=6)
        for path in sorted(path for pattern in _TEXTS for path in self.path.glob(pattern)):
            digest.update(path.name.encode() + path.read_bytes())
        for path in self.weight_files:
            _hash_tensors(path, digest)
        return digest.hexdigest()

    @property
    def fingerprint(self) -> str:
        """A hash of the names and shapes of the weights, and of the first bytes of each."""
        digest = hashlib.blake2b(digest_size=6)
        for path in self.weight_files:
            _hash_tensors(path, digest)
        return digest.hexdigest()

    @property
    def weight_files(self) -> list[Path]:
        """The safetensors files of a folder on this machine; pickles are not read."""
        names = sorted(set(shards(self.path / INDEX).values())) if (self.path / INDEX).is_file() else [WEIGHTS]
        if missing := [name for name in names if not (self.path / name).is_file()]:
            raise CheckpointError(
                f"{self.path} has no {missing[0]}, and other formats are not read, since they can run code; copy it "
                "from where the others are from, or load the model with transformers and save_pretrained it"
            )
        return [self.path / name for name in names]

    def load_processor(self, *, with_video: bool) -> Any:
        """The processor of the family.

        Args:
            with_video: Whether it prepares videos, for which torchvision is required; without, frames are prepared as
                images, by Pillow.

        Raises:
            CheckpointError: A file is missing or damaged, or a package is not installed.
        """
        local: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        try:
            if not self.sees:
                processor = TextProcessor(AutoTokenizer.from_pretrained(self.path, **local))
            elif with_video:
                processor = AutoProcessor.from_pretrained(self.path, **local)
            else:
                made = {
                    name: loader.from_pretrained(self.path, **local, **options)
                    for name, (loader, options) in _PARTS.items()
                    if name in self.processor_parts
                }
                family = without_video(self.processor_class)
                stated, _ = family.get_processor_dict(self.path, local_files_only=True)
                processor = family.from_args_and_dict([made.get(name) for name in self.processor_parts], stated)
        except Exception as error:  # transformers raises errors of many kinds
            raise CheckpointError(f"cannot load the processor of {self.model}: {one_line(error, 400)}") from error
        tokenizer = processor.tokenizer
        processor.chat_template = processor.chat_template or tokenizer.chat_template
        if processor.chat_template is None:
            raise CheckpointError(
                f"{self.model} has no chat template; expected a model that was trained to answer questions, often "
                "published with -Instruct or -it in its name"
            )
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return processor

    def load_network(
        self,
        device: torch.device,
        dtype: str = "auto",
        quantisation: str | None = None,
        *,
        offload: bool = False,
        max_memory: Mapping[str, str] | None = None,
        offload_folder: str | None = None,
    ) -> Any:
        """The network, with all its weights, for inference; see :class:`TransformersChat` for the arguments.

        Raises:
            CheckpointError: Weights are missing or do not fit, or a package is not installed.
        """
        if self.is_download:
            _download_weights(self.model, self.path)
        options: dict[str, Any] = {"dtype": PRECISIONS.get(dtype, "auto")}
        if quantisation is not None:
            _require("bitsandbytes", f"quantisation {quantisation}")
            options["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=quantisation == "4bit",
                load_in_8bit=quantisation == "8bit",
                bnb_4bit_compute_dtype=PRECISIONS["bf16"],
            )
            options["device_map"] = {"": device}
        if offload:
            options["device_map"] = "auto"
            options["offload_folder"] = offload_folder
            if max_memory:
                options["max_memory"] = {int(key) if key.isdigit() else key: size for key, size in max_memory.items()}
        if "device_map" in options:
            _require("accelerate", "placing a model on several devices")
        _ = self.weight_files
        try:
            network: Any
            family: Any = AutoModelForMultimodalLM if self.sees else AutoModelForCausalLM
            network, report = family.from_pretrained(
                self.path,
                config=self.config,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
            if "device_map" not in options:
                network.to(device)
        except Exception as error:  # transformers raises errors of many kinds
            raise CheckpointError(f"cannot load the weights of {self.model}: {one_line(error, 400)}") from error
        if missing := sorted(report["missing_keys"]):
            raise CheckpointError(
                f"the weights of {self.model} do not fit its {CONFIG}: {listed([f'missing {key}' for key in missing])}"
            )
        self.generation_config = network.generation_config
        return network.eval().requires_grad_(requires_grad=False)

    def copy_to(self, target: Path, network: Any, weights: Mapping[str, Tensor] | None) -> None:
        """Copy the model to another folder.

        Args:
            target: The folder.
            network: The network, if it has other weights than the files.
            weights: These weights, by name; None to copy those of the files.
        """
        if weights is None:
            if self.is_download:
                _download_weights(self.model, self.path)
            for path in self.weight_files:
                shutil.copyfile(path, target / path.name)
        else:
            own, network.generation_config = network.generation_config, self.generation_config
            try:
                network.save_pretrained(target, state_dict=dict(weights), max_shard_size="5GB")
            finally:
                network.generation_config = own
            for path in target.glob("*.safetensors"):  # which only their owner could read
                path.chmod((target / CONFIG).stat().st_mode)
        for path in sorted(path for pattern in _TEXTS for path in self.path.glob(pattern)):
            if path.name != INDEX and not (target / path.name).exists():
                shutil.copyfile(path, target / path.name)
        if weights is not None:  # transformers states the data type of the network in memory
            kinds = Counter(str(value.dtype).removeprefix("torch.") for value in weights.values())
            stated = read_json(target / CONFIG) | {"dtype": kinds.most_common(1)[0][0]}
            (target / CONFIG).write_text(json.dumps(stated, indent=2) + "\n", encoding="utf-8")


class TextProcessor:
    """The tokenizer of a language model that only reads, with the methods of a processor.

    Args:
        tokenizer: The tokenizer.
    """

    all_special_multimodal_tokens: tuple[str, ...] = ()

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.chat_template = tokenizer.chat_template

    def apply_chat_template(self, conversations: Any, *, tokenize: bool = False, **options: Any) -> Any:
        """Messages whose contents are texts or lists of text blocks, as one text each, or as a batch of tokens."""
        options.pop("processor_kwargs", None)
        is_one = isinstance(conversations[0], dict)
        flat = [
            [{**turn, "content": _flat(turn["content"])} for turn in turns]
            for turns in ([conversations] if is_one else conversations)
        ]
        more = {"padding": True} if tokenize else {}
        return self.tokenizer.apply_chat_template(flat[0] if is_one else flat, tokenize=tokenize, **more, **options)


def _flat(content: Any) -> str:
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


class AdapterFolder:
    """Adapters in peft's layout, of which only safetensors weights are read.

    Args:
        adapter: A folder, or ``owner/name`` on the Hugging Face hub.

    Raises:
        CheckpointError: There is no such folder, or it lacks a file.
    """

    def __init__(self, adapter: str) -> None:
        self.adapter = adapter
        if is_repository(adapter) and not expanded(adapter).exists():
            try:
                self.path = [fetch(adapter, name) for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)][-1].parent
            except Exception as error:  # the client raises errors of many libraries
                raise _hub_error(error, adapter, None) from error
        else:
            self.path = expanded(adapter)
        for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
            if not (self.path / name).is_file():
                raise CheckpointError(
                    f"{adapter} has no {name}; expected a folder of adapters in peft's layout, such as {ADAPTER} in a "
                    "model folder that prismaudio fit exported"
                )

    @cached_property
    def version(self) -> str:
        """A hash of the configuration, and of the first bytes of each tensor."""
        digest = hashlib.blake2b((self.path / ADAPTER_CONFIG).read_bytes(), digest_size=6)
        _hash_tensors(self.path / ADAPTER_WEIGHTS, digest)
        return digest.hexdigest()

    def merge_into(self, network: Any, model: ModelFolder) -> Any:
        """Merge the adapters into the weights of a network.

        Args:
            network: The network.
            model: The model that it is from.

        Raises:
            CheckpointError: They were trained on another model, or are damaged.
        """
        _require("peft", "adapter")
        from peft import PeftModel

        with safe_open(self.path / ADAPTER_WEIGHTS, "pt") as file:
            base = (file.metadata() or {}).get(BASE)
        if base is not None and base.rpartition("@")[2] != model.fingerprint:
            raise CheckpointError(
                f"{self.adapter} was trained on {base}; the weights of {model.model} are {model.fingerprint}: give "
                "the model that it was trained on"
            )
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")  # peft only warns of weights that the file lacks
                whole = PeftModel.from_pretrained(network, str(self.path), torch_device="cpu").merge_and_unload()
        except Exception as error:  # peft raises errors of many kinds
            raise CheckpointError(
                f"{self.adapter} does not fit {model.model}: {one_line(error, 300)}; expected the model that it was "
                "trained on"
            ) from error
        if missing := [str(one.message) for one in said if "missing adapter keys" in str(one.message)]:
            raise CheckpointError(f"{self.adapter} does not fit {model.model}: {' '.join(missing[0].split())[:300]}")
        return whole


def save_adapter(folder: Path, state: Mapping[str, Tensor], config: Any, model: ModelFolder) -> None:
    """Write adapters in peft's layout.

    Args:
        folder: The folder.
        state: Weights of the network with adapters.
        config: Their configuration, of peft.
        model: The model that they were trained on.
    """
    weights = {
        f"base_model.model.{key.replace(f'.{NAME}.', '.')}": value.detach().cpu().contiguous()
        for key, value in state.items()
        if ".lora_" in key
    }
    save_tensors(weights, folder / ADAPTER_WEIGHTS, {"format": "pt", BASE: f"{model.name}@{model.fingerprint}"})
    config.base_model_name_or_path = model.name
    config.inference_mode = True
    config.save_pretrained(folder)


def without_video(family: Any) -> Any:
    """A processor class of a family that may be made without a video processor, which would require torchvision.

    Source:
        ``ProcessorMixin`` of transformers, whose constructor checks the type of each part, and whose
        ``apply_chat_template`` is overridden by SmolVLM to read defaults of the video processor.
    """

    def check_argument_for_proper_class(self: Any, argument_name: str, argument: Any) -> Any:
        return None if argument is None else family.check_argument_for_proper_class(self, argument_name, argument)

    members = {
        "check_argument_for_proper_class": check_argument_for_proper_class,
        "apply_chat_template": ProcessorMixin.apply_chat_template,
    }
    return type(family.__name__, (family,), members)


def _download_texts(repository: str, revision: str | None) -> Path:
    """The folder of a commit in the cache of the hub's client, with all files but the weights."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        folder = fetch(repository, CONFIG, revision).parent  # named after the commit, so that all files are of one
        snapshot_download(repository, revision=folder.name, allow_patterns=_TEXTS, ignore_patterns=["*/*"])
    except RemoteEntryNotFoundError as error:
        raise CheckpointError(
            f"{repository} on the hub has no {CONFIG}; expected a model in transformers' layout, such as "
            f"{EXAMPLE.repository}"
        ) from error
    except Exception as error:  # the client raises errors of many libraries
        raise _hub_error(error, repository, revision) from error
    return folder


def _download_weights(repository: str, folder: Path) -> None:
    """Download the safetensors files of a commit that are not in the cache yet."""
    from huggingface_hub.errors import RemoteEntryNotFoundError

    names = sorted(set(shards(folder / INDEX).values())) if (folder / INDEX).is_file() else [WEIGHTS]
    try:
        for name in names:
            fetch(repository, name, folder.name)
    except RemoteEntryNotFoundError as error:
        raise CheckpointError(
            f"{repository} on the hub has no {name}, and other formats are not read, since they can run code; name a "
            "revision that has it, or load it with transformers and save_pretrained it"
        ) from error
    except Exception as error:  # the client raises errors of many libraries
        raise _hub_error(error, repository, folder.name) from error


def _hub_error(error: Exception, repository: str, revision: str | None) -> CheckpointError:
    page = f"https://huggingface.co/{repository}"
    return hub_error(error, repository, revision, f"get its files from {page}, and give their folder")


def _require(package: str, purpose: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise CheckpointError(f"{purpose} needs the package {package}: pip install {package}")


def _hash_tensors(path: Path, digest: hashlib.blake2b) -> None:
    """Hash the header of a safetensors file, and the first bytes of each tensor."""
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = file.read(min(size, MAX_JSON_BYTES))
            digest.update(header)
            for entry in json.loads(header).values():
                if "data_offsets" in entry:  # not the metadata
                    begin, end = entry["data_offsets"]
                    file.seek(8 + size + begin)
                    digest.update(file.read(min(end - begin, _HASHED_BYTES)))
    except (OSError, ValueError, struct.error, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{path} is truncated or damaged ({one_line(error, 160)}); copy or download it again"
        ) from error
