"""Base models: loading, and the one a worker keeps warm."""

import os
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from peft import prepare_model_for_kbit_training

from raypeft.modeling.causality import check_causal
from raypeft.modeling.fitting import check_tokenizer
from raypeft.modeling.gpu import await_free_gpu
from raypeft.modeling.memory import give_back
from raypeft.modeling.precision import Hardware, compute_dtype, keep_unpacked, quantization_config
from raypeft.modeling.qkv import NATIVE_CORES, to_native_layout
from raypeft.modeling.source import AUTO_CLASSES, WITH_INFO, checked, model_tokenizer, reading
from raypeft.modeling.targets import target_lists
from raypeft.modeling.weights import check_complete
from raypeft.spec.catalogue import Architecture, ModelEntry, TargetList
from raypeft.spec.plan import Cell, IclJob
from raypeft.spec.resolve import ResolvedStudy
from raypeft.spec.sections import Attention, Precision
from raypeft.spec.technique import Quantization


@dataclass
class Base:
    """A loaded base model with its tokenizer: not adapted, frozen, in evaluation mode.

    Attributes:
        source: hub id or folder it comes from.
        architecture: from the catalogue, or else the model's configuration.
        targets: module lists that techniques refer to.
        dtype: what it computes in.
    """

    name: str
    entry: ModelEntry
    source: str
    model: Any
    tokenizer: Any
    architecture: Architecture
    targets: dict[TargetList, list[str]]
    dtype: torch.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device


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

    Trials after each other on one worker share it; whatever adapts it must leave it as it was. Before another is
    loaded, the memory of the one before is freed, and `gpu_share` of the GPU is waited for.
    """
    key = (entry.model_dump_json(), precision, quantization, attention)
    if key not in _warm:
        _warm.clear()
        give_back()
        await_free_gpu(gpu_share)
        _warm[key] = load_base(name, entry, precision, quantization=quantization, attention=attention)
    return _warm[key]


def discard_warm() -> None:
    """Forget the warm base model, after something may have left it changed."""
    _warm.clear()


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
            something it needs is not there: a package, a GPU, the layout of its weights. Or the checkpoint is not all
            of the model, does not go with its tokenizer, is stored quantised, or sees later tokens.
    """
    where = f"models.{name}"
    config, architecture, source, options = checked(name, entry)
    hardware = Hardware.here()
    dtype = compute_dtype(precision, config.model_type, hardware)
    kind = AUTO_CLASSES[architecture]
    how = {"dtype": dtype} | ({} if attention == "auto" else {"attn_implementation": attention})
    quantized = {}
    if quantization is not None:
        quantized = {"quantization_config": quantization_config(quantization, dtype)}
        quantized |= {"device_map": {"": hardware.device}}
    tokenizer = model_tokenizer(name, entry)
    with reading(name, source):
        if entry.qkv_layout in (None, NATIVE_CORES):
            model, info = kind.from_pretrained(source, **options, **how, **quantized, **WITH_INFO)
        else:
            model, info = kind.from_pretrained(source, **options, **how, **WITH_INFO)
            to_native_layout(model, entry.qkv_layout)
            model = _from_weights(model, how | quantized) if quantized else model
    check_complete(info, model, source, where)
    check_tokenizer(tokenizer, model, source, where)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if quantized:
        keep_unpacked(model)
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    else:
        model.to(hardware.device)
    model.eval().requires_grad_(False)
    check_causal(model, source, where)
    if entry.hub is not None:
        # Adapters record what they were trained on by this name.
        source = model.name_or_path = model.config.name_or_path = entry.hub
    return Base(name, entry, source, model, tokenizer, architecture, target_lists(entry, config.model_type), dtype)


def _from_weights(model: Any, how: dict[str, Any]) -> Any:
    """A model loaded again from its weights in memory, which are quantised on the way."""
    again = type(model).from_pretrained(None, config=model.config, state_dict=model.state_dict(), **how)
    again.generation_config = model.generation_config
    again.name_or_path = again.config.name_or_path = model.name_or_path
    return again
