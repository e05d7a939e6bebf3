"""Base models: loading, and the one a worker keeps warm."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from peft import prepare_model_for_kbit_training
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from raypeft.errors import UserError
from raypeft.hub import model_snapshot
from raypeft.modeling.fingerprint import Fingerprint, differences, fingerprint, in_words
from raypeft.modeling.gpu import await_free_gpu
from raypeft.modeling.memory import give_back
from raypeft.modeling.precision import Hardware, compute_dtype, keep_unpacked, quantization_config
from raypeft.modeling.qkv import NATIVE_CORES, check_layout, to_native_layout
from raypeft.modeling.targets import target_lists
from raypeft.spec.catalogue import Architecture, ModelEntry, TargetList
from raypeft.spec.plan import Cell, IclJob
from raypeft.spec.resolve import ResolvedStudy
from raypeft.spec.sections import Attention, Precision
from raypeft.spec.technique import Quantization

# How every refusal of transformers to run a model's own code ends; it is a plain ValueError, told by nothing else.
ASKS_FOR_CODE = "Please pass the argument `trust_remote_code=True` to allow custom code to be run."


@dataclass
class Base:
    """A base model with its tokenizer: not adapted, frozen, in evaluation mode.

    Attributes:
        source: hub id or folder it comes from.
        loaded: the model; none once it came back changed, until it is asked for again.
        architecture: from the catalogue, or else the model's configuration.
        targets: module lists that techniques refer to.
        dtype: what it computes in.
        again: loads the same once more; a base without it cannot be lent to what changes it.
        changed: in what the model came back other than it was lent, in words; none where it did not, or is replaced.
    """

    name: str
    entry: ModelEntry
    source: str
    loaded: Any
    tokenizer: Any
    architecture: Architecture
    targets: dict[TargetList, list[str]]
    dtype: torch.dtype
    again: "Callable[[], Base] | None" = None
    changed: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._as_loaded: Fingerprint = _fingerprint(self.loaded)

    @property
    def model(self) -> Any:
        """The model as it was loaded; loaded anew where `take_back` found it changed."""
        self.renew()
        return self.loaded

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def take_back(self, give: Callable[[], Any]) -> None:
        """Keep the model after it was lent, where it is proven to be, to the last bit, what was loaded; else drop it.

        Args:
            give: makes the model what it was before it was lent, and returns it. That it fails is no error: the model
                counts as changed.
        """
        model, self.loaded = None, None
        try:
            model = give()
            paths = differences(self._as_loaded, _fingerprint(model))
            self.changed = in_words(paths) if paths else None
        except Exception as error:
            self.changed = f"{type(error).__name__}: {error}"
        if self.changed is None:
            self.loaded = model

    def renew(self) -> None:
        """Load the model anew where it came back changed, when the memory of what came back is freed."""
        if self.loaded is None and self.again is not None:
            give_back()
            fresh = self.again()
            self.loaded, self._as_loaded, self.changed = fresh.loaded, fresh._as_loaded, None


_warm: dict[tuple[object, ...], Base] = {}


def study_base(resolved: ResolvedStudy, target: Cell | IclJob) -> Base:
    """The warm base model of a cell, quantised as its technique says, or of an ICL run, which is never quantised."""
    training = resolved.study.training
    return warm_base(
        target.model,
        resolved.models[target.model],
        training.precision,
        quantization=resolved.techniques[target.technique].quantization if isinstance(target, Cell) else None,
        attention=training.attention,
        gpu_share=resolved.study.resources.gpus_per_trial,
    )


def warm_base(
    name: str,
    entry: ModelEntry,
    precision: Precision,
    *,
    quantization: Quantization | None = None,
    attention: Attention = "auto",
    gpu_share: float = 1,
) -> Base:
    """The base model, kept in this process until another is asked for; with quantised weights it is another.

    Trials after each other on one worker share it; what came back changed from one of them is loaded anew. Before
    another is loaded, the memory of the one before is freed, and `gpu_share` of the GPU is waited for.
    """
    key = (entry.model_dump_json(), precision, quantization, attention)
    if key not in _warm:
        _warm.clear()
        give_back()
        await_free_gpu(gpu_share)
        _warm[key] = load_base(name, entry, precision, quantization=quantization, attention=attention)
    _warm[key].renew()
    return _warm[key]


def model_config(name: str, entry: ModelEntry) -> Any:
    """The model's transformers configuration.

    Raises:
        UserError: folder or repository missing or unreadable, or in need of code of its own.
    """
    source, options = _origin(name, entry)
    try:
        return AutoConfig.from_pretrained(source, **options)
    except (OSError, ValueError) as error:
        raise _unloadable(name, source, error) from error


def model_tokenizer(name: str, entry: ModelEntry) -> Any:
    """The model's tokenizer.

    Raises:
        UserError: folder or repository missing or unreadable, or in need of code of its own.
    """
    source, options = _origin(name, entry)
    try:
        return AutoTokenizer.from_pretrained(source, **options)
    except (OSError, ValueError) as error:
        raise _unloadable(name, source, error) from error


def load_base(
    name: str,
    entry: ModelEntry,
    precision: Precision,
    *,
    quantization: Quantization | None = None,
    attention: Attention = "auto",
) -> Base:
    """Load a base model and its tokenizer onto the GPU, or the CPU where there is none.

    Args:
        name: short name in the study, for messages.
        entry: what the catalogue knows of it.
        precision: of the weights that are not quantised, and of computation.
        quantization: of the weights of linear layers. What is left in fp16 or bf16 then becomes fp32
            (`peft.prepare_model_for_kbit_training`).
        attention: implementation of attention; `auto` is transformers' choice, SDPA where the model has it.

    Raises:
        UserError: folder or repository missing or unreadable, its architecture differs from the catalogue's, or
            something it needs is not there: a package, a GPU, the layout of its weights.
    """
    where = f"models.{name}"
    config = model_config(name, entry)
    architecture: Architecture = "encoder_decoder" if config.is_encoder_decoder else "decoder"
    source, options = _origin(name, entry)
    if entry.architecture not in (None, architecture):
        raise UserError(f"is declared {entry.architecture}, but {source} is not", where=f"{where}.architecture")
    if not entry.trust_remote_code:
        check_layout(config, entry.qkv_layout, where)
    hardware = Hardware.here()
    dtype = compute_dtype(precision, config.model_type, hardware)
    kind = AutoModelForSeq2SeqLM if architecture == "encoder_decoder" else AutoModelForCausalLM
    how = {"dtype": dtype} | ({} if attention == "auto" else {"attn_implementation": attention})
    quantized = {}
    if quantization is not None:
        quantized = {"quantization_config": quantization_config(quantization, dtype)}
        quantized |= {"device_map": {"": hardware.device}}
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        if entry.qkv_layout in (None, NATIVE_CORES):
            model = kind.from_pretrained(source, **options, **how, **quantized)
        else:
            model = kind.from_pretrained(source, **options, **how)
            to_native_layout(model, entry.qkv_layout)
            model = _from_weights(model, how | quantized) if quantized else model
    except (OSError, ValueError, ImportError) as error:
        raise _unloadable(name, source, error) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if quantized:
        keep_unpacked(model)
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    else:
        model.to(hardware.device)
    model.eval().requires_grad_(False)
    if entry.hub is not None:
        # Adapters record what they were trained on by this name.
        source = model.name_or_path = model.config.name_or_path = entry.hub
    targets = target_lists(entry, config.model_type)
    again = functools.partial(load_base, name, entry, precision, quantization=quantization, attention=attention)
    return Base(name, entry, source, model, tokenizer, architecture, targets, dtype, again)


@torch.no_grad()
def _fingerprint(model: Any) -> Fingerprint:
    """The fingerprint of a model in evaluation mode, a quantised one after it has computed once.

    Layers of bitsandbytes arrange their weights anew when they first compute, and remember in which mode they last did.
    """
    if getattr(model, "is_quantized", False):
        token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
        model(input_ids=token, labels=token)
    return fingerprint(model)


def _origin(name: str, entry: ModelEntry) -> tuple[str, dict[str, Any]]:
    """The folder where transformers finds a model, in the hub's cache for one of the hub, and with what options."""
    options: dict[str, Any] = {"trust_remote_code": entry.trust_remote_code, "local_files_only": True}
    folder = entry.path(f"models.{name}.folder")
    if folder is None:
        folder = model_snapshot(str(entry.hub), revision=entry.revision, code=entry.trust_remote_code)
    return str(folder), options


def _from_weights(model: Any, how: dict[str, Any]) -> Any:
    """A model loaded again from its weights in memory, which are quantised on the way."""
    again = type(model).from_pretrained(None, config=model.config, state_dict=model.state_dict(), **how)
    again.generation_config = model.generation_config
    again.name_or_path = again.config.name_or_path = model.name_or_path
    return again


def _unloadable(name: str, source: str, error: Exception) -> UserError:
    hint = None
    if isinstance(error, ValueError) and str(error).endswith(ASKS_FOR_CODE):
        hint = f"Read that code; catalogue.models.{name}.trust_remote_code: true lets it run."
    return UserError(f"cannot be loaded from {source}: {error}", where=f"models.{name}", hint=hint)
