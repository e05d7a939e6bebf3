"""Base models: loading, and the one a worker keeps warm."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import prepare_model_for_kbit_training

from raypeft.modeling.fingerprint import Fingerprint, differences, fingerprint, in_words
from raypeft.modeling.fitting import check_causal, check_tokenizer
from raypeft.modeling.layout import foreign_cores, target_lists, to_native_layout
from raypeft.modeling.memory import await_free_gpu, give_back
from raypeft.modeling.precision import Hardware, compute_dtype, keep_unpacked, quantization_config
from raypeft.modeling.source import AUTO_CLASSES, WITH_INFO, checked, model_tokenizer, reading
from raypeft.modeling.weights import check_complete
from raypeft.spec.catalogue import Architecture, ModelEntry, TargetList
from raypeft.spec.plan import Cell, IclJob, Plan
from raypeft.spec.resolve import ResolvedStudy
from raypeft.spec.sections import Attention, Precision, QuantizedRest
from raypeft.spec.technique import Quantization


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
    name, quantization = Plan(resolved).base(target)
    return warm_base(
        name,
        resolved.models[name],
        training.precision,
        gpu_share=resolved.study.resources.gpus_per_trial,
        quantization=quantization,
        quantized_rest=training.quantized_rest,
        attention=training.attention,
    )


def warm_base(name: str, entry: ModelEntry, precision: Precision, *, gpu_share: float = 1, **options: Any) -> Base:
    """What `load_base` loads, kept in this process until another is asked for; with other options it is another.

    Trials after each other on one worker share it; what came back changed from one of them is loaded anew. Before
    another is loaded, the memory of the one before is freed, and `gpu_share` of the GPU is waited for.
    """
    key = (entry.model_dump_json(), precision, *sorted(options.items()))
    if key not in _warm:
        _warm.clear()
        give_back()
        await_free_gpu(gpu_share)
        _warm[key] = load_base(name, entry, precision, **options)
    _warm[key].renew()
    return _warm[key]


def discard_warm() -> None:
    """Let go of the warm base model, so that another process can have its memory."""
    _warm.clear()


def load_base(
    name: str,
    entry: ModelEntry,
    precision: Precision,
    *,
    quantization: Quantization | None = None,
    quantized_rest: QuantizedRest = "half",
    attention: Attention = "auto",
) -> Base:
    """Load a base model and its tokenizer onto the GPU, or the CPU where there is none.

    Args:
        name: short name in the study, for messages.
        entry: what the catalogue knows of it.
        precision: of the weights that are not quantised, and of computation.
        quantization: of the weights of linear layers.
        quantized_rest: what is left of a quantised model stays in the precision of computation (`half`), or becomes
            fp32 (`peft.prepare_model_for_kbit_training`).
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
    quantized: dict[str, Any] = {}
    if quantization is not None:
        config_of_weights = quantization_config(quantization, dtype)
        quantized = {"quantization_config": config_of_weights, "device_map": {"": hardware.device}}
    tokenizer = model_tokenizer(name, entry)
    with reading(name, source):
        cores = foreign_cores(entry)
        model, info = kind.from_pretrained(source, **options, **how, **({} if cores else quantized), **WITH_INFO)
        if cores:
            to_native_layout(model, cores)
            model = _from_weights(model, how | quantized) if quantized else model
    check_complete(info, model, source, where)
    check_tokenizer(tokenizer, model, source, where)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if quantized:
        keep_unpacked(model)
        if quantized_rest == "fp32":
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    else:
        model.to(hardware.device)
    model.eval().requires_grad_(False)
    check_causal(model, source, where)
    if entry.hub is not None:
        # Adapters record what they were trained on by this name.
        source = model.name_or_path = model.config.name_or_path = entry.hub
    targets = target_lists(entry, config.model_type)
    again = functools.partial(
        load_base, name, entry, precision, quantization=quantization, quantized_rest=quantized_rest, attention=attention
    )
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


def _from_weights(model: Any, how: dict[str, Any]) -> Any:
    """A model loaded again from its weights in memory, which are quantised on the way."""
    again = type(model).from_pretrained(None, config=model.config, state_dict=model.state_dict(), **how)
    again.generation_config = model.generation_config
    again.name_or_path = again.config.name_or_path = model.name_or_path
    return again
