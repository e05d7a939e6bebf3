"""Base models: loading, precision, and the one a worker keeps warm."""

import gc
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from raypeft.errors import UserError
from raypeft.spec.catalogue import ModelEntry

Precision = Literal["auto", "fp32", "bf16"]


@dataclass
class Base:
    """A loaded base model with its tokenizer: not adapted, frozen, in evaluation mode."""

    name: str
    entry: ModelEntry
    source: str
    model: Any
    tokenizer: Any

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device


_warm: dict[tuple[str, str], Base] = {}


def warm_base(name: str, entry: ModelEntry, precision: Precision) -> Base:
    """The base model, kept in this process until another is asked for.

    Trials after each other on one worker share it; whatever adapts it must leave it as it was.
    """
    key = (entry.model_dump_json(), precision)
    if key not in _warm:
        _warm.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        _warm[key] = load_base(name, entry, precision)
    return _warm[key]


def discard_warm() -> None:
    """Forget the warm base model, after something may have left it changed."""
    _warm.clear()


def load_base(name: str, entry: ModelEntry, precision: Precision) -> Base:
    """Load a base model and its tokenizer onto the GPU, or the CPU where there is none.

    Raises:
        UserError: folder or repository missing or unreadable, or its architecture differs from the catalogue's.
    """
    where = f"models.{name}"
    folder: Path | None = entry.path(f"{where}.folder")
    source = str(folder) if folder else str(entry.hub)
    revision = {} if folder else {"revision": entry.revision}
    transformers_logging.disable_progress_bar()
    kind = AutoModelForSeq2SeqLM if entry.architecture == "encoder_decoder" else AutoModelForCausalLM
    try:
        config = AutoConfig.from_pretrained(source, **revision)
        if config.is_encoder_decoder != (entry.architecture == "encoder_decoder"):
            raise UserError(f"is declared {entry.architecture}, but {source} is not", where=f"{where}.architecture")
        tokenizer = AutoTokenizer.from_pretrained(source, **revision)
        model = kind.from_pretrained(source, dtype=torch_dtype(precision), **revision)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be loaded from {source}: {error}", where=where) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval().requires_grad_(False)
    return Base(name, entry, source, model, tokenizer)


def torch_dtype(precision: Precision) -> torch.dtype:
    """Precision of the base weights: `auto` is bf16 on GPUs that have it, else fp32."""
    if precision == "auto":
        return torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else torch.float32
    return torch.float32 if precision == "fp32" else torch.bfloat16
