"""Where a model comes from, and what can be said of it before its weights are loaded."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from raypeft.errors import UserError
from raypeft.hub import cached_snapshot, model_snapshot
from raypeft.modeling.fitting import check_class
from raypeft.modeling.layout import check_layout
from raypeft.modeling.memory import is_out_of_memory
from raypeft.modeling.precision import check_unquantized
from raypeft.modeling.weights import check_complete, check_files
from raypeft.spec.catalogue import Architecture, ModelEntry

# A worker starts no threads of its own for the few texts of a batch.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

AUTO_CLASSES: dict[Architecture, Any] = {"decoder": AutoModelForCausalLM, "encoder_decoder": AutoModelForSeq2SeqLM}
WITH_INFO = {"output_loading_info": True, "ignore_mismatched_sizes": True}
# How every refusal of transformers to run a model's own code ends; it is a plain ValueError, told by nothing else.
ASKS_FOR_CODE = "Please pass the argument `trust_remote_code=True` to allow custom code to be run."


def model_config(name: str, entry: ModelEntry) -> Any:
    """The model's transformers configuration.

    Raises:
        UserError: folder or repository missing or unreadable, or in need of code of its own.
    """
    source, options = origin(name, entry)
    with reading(name, source):
        return AutoConfig.from_pretrained(source, **options)


def model_tokenizer(name: str, entry: ModelEntry) -> Any:
    """The model's tokenizer.

    Raises:
        UserError: folder or repository missing or unreadable, or in need of code of its own.
    """
    source, options = origin(name, entry)
    with reading(name, source):
        return AutoTokenizer.from_pretrained(source, **options)


def skeleton(name: str, entry: ModelEntry) -> Any:
    """The model without its weights, on torch's `meta` device; of a checkpoint only the list of tensors is read.

    Raises:
        UserError: what `load_base` would say of configuration, files and tensors.
    """
    _, architecture, source, options = checked(name, entry)
    with reading(name, source):
        model, info = AUTO_CLASSES[architecture].from_pretrained(
            source, **options, **WITH_INFO, device_map={"": "meta"}
        )
    check_complete(info, model, source, f"models.{name}")
    return model


def checked(name: str, entry: ModelEntry) -> tuple[Any, Architecture, str, dict[str, Any]]:
    """Configuration and architecture of a model whose files are whole, where it is, and with what options to load it.

    Raises:
        UserError: it cannot be loaded, or is none that can be trained.
    """
    where = f"models.{name}"
    source, options = origin(name, entry)
    check_files(Path(source), where)
    config = model_config(name, entry)
    architecture: Architecture = "encoder_decoder" if config.is_encoder_decoder else "decoder"
    if entry.architecture not in (None, architecture):
        raise UserError(f"is declared {entry.architecture}, but {source} is not", where=f"{where}.architecture")
    check_class(config, source, where)
    check_unquantized(config, source, where)
    if not entry.trust_remote_code:
        check_layout(config, entry.qkv_layout, where)
    transformers_logging.disable_progress_bar()
    return config, architecture, source, options


def is_here(entry: ModelEntry) -> bool:
    """Whether all of a model is on this machine, in its folder or the hub's cache."""
    return entry.hub is None or cached_snapshot(entry.hub, entry.revision) is not None


def origin(name: str, entry: ModelEntry) -> tuple[str, dict[str, Any]]:
    """The folder where transformers finds a model, in the hub's cache for one of the hub, and with what options."""
    options: dict[str, Any] = {"trust_remote_code": entry.trust_remote_code, "local_files_only": True}
    folder = entry.path(f"models.{name}.folder")
    if folder is None:
        folder = model_snapshot(str(entry.hub), revision=entry.revision, code=entry.trust_remote_code)
    return str(folder), options


@contextmanager
def reading(name: str, source: str) -> Iterator[None]:
    """Say of a fault in reading a model whose it is; not of the machine's own, lack of memory and the like."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # a report of tensors that `check_complete` tells in a line
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # tokenizers raises nothing more particular
        if is_out_of_memory(error) or isinstance(error, torch.AcceleratorError):
            raise
        hint = None
        if isinstance(error, ValueError) and str(error).endswith(ASKS_FOR_CODE):
            hint = f"Read that code; catalogue.models.{name}.trust_remote_code: true lets it run."
        raise UserError(f"cannot be loaded from {source}: {_text(error)}", where=f"models.{name}", hint=hint) from error
    finally:
        transformers_logging.set_verbosity(verbosity)


def _text(error: Exception) -> str:
    """What an error says, with its kind where that alone says little (`KeyError: 'model_type'`)."""
    return str(error) if isinstance(error, OSError | ValueError | ImportError) else f"{type(error).__name__}: {error}"


def load_tokenizer(name: str, entry: ModelEntry) -> tuple[Any, Architecture]:
    """A model's tokenizer and architecture.

    Raises:
        UserError: folder or repository missing or unreadable, or in need of code of its own.
    """
    folder = entry.path(f"models.{name}.folder") or cached_snapshot(str(entry.hub), entry.revision)
    source = str(folder or entry.hub)
    options: dict[str, Any] = {"trust_remote_code": entry.trust_remote_code}
    if folder is None:
        options["revision"] = entry.revision
    with reading(name, source):
        config = AutoConfig.from_pretrained(source, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    return tokenizer, "encoder_decoder" if config.is_encoder_decoder else "decoder"
