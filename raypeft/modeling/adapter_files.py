"""Saved adapters: whether one was made for the model in hand, and all of it can be put on."""

import re
from pathlib import Path
from typing import Any

import peft

from raypeft.errors import UserError
from raypeft.modeling.loading import Base
from raypeft.modeling.source import origin
from raypeft.modeling.unusable import UNUSABLE
from raypeft.modeling.weights import check_files, check_numbers, listed_first, same_weights

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# Kept once for all layers, so that peft misses them where they do not lie.
SHARED = ("vblora_vector_bank", "prompt_encoder", ".tinylora_v.", ".unilora_theta_d.")
RENAMED = "If it is the same model, correct base_model_name_or_path in its adapter_config.json."


def check_adapter(base: Base, adapter: str, where: str) -> peft.PeftConfig:
    """Check that the files of an adapter are whole, its values finite, and that it was made for the base model.

    Args:
        base: the model that it is to be put on.
        adapter: folder, or hub id.
        where: option or folder, for messages.

    Returns:
        The adapter's configuration.

    Raises:
        UserError: one of them is not so.
    """
    if Path(adapter).is_dir():
        check_files(Path(adapter), where)
    config = peft.PeftConfig.from_pretrained(adapter)
    kind = type(config).__name__
    if kind in UNUSABLE:
        raise UserError(f"is a {kind}, which cannot be evaluated: {UNUSABLE[kind]}", where=where)
    if made_for := _other_base(config, base):
        raise UserError(f"cannot be put on {base.source}: it was made for {made_for}", where=where, hint=RENAMED)
    check_numbers(peft.load_peft_weights(adapter, device="cpu").items(), "the adapter", where)
    return config


def put_on(base: Base, adapter: str, where: str, *, trainable: bool = False) -> peft.PeftModel:
    """The base model with a saved adapter, all of which is put on.

    Args:
        base: the model.
        adapter: folder, or hub id.
        where: option or folder, for messages.
        trainable: whether it is to be trained further.

    Raises:
        UserError: the adapter lacks tensors that its configuration asks for, or has some that fit nowhere.
    """
    model = peft.PeftModel.from_pretrained(base.model, adapter, is_trainable=trainable)
    # What it says of missing and unexpected tensors is not returned the first time.
    result = model.load_adapter(adapter, "default", is_trainable=trainable)
    missing = [name for name in result.missing_keys if not any(shared in name for shared in SHARED)]
    for names, what in ((missing, "lacks"), (result.unexpected_keys, "has no place for")):
        if names:
            tensors = f"{len(names)} tensor{'s' if len(names) > 1 else ''}: {listed_first(names)}"
            subject = "the adapter" if what == "lacks" else base.source
            raise UserError(f"{subject} {what} {tensors}", where=where, hint="It was saved incompletely, or altered.")
    return model


def _other_base(config: Any, base: Base) -> str | None:
    """The model that an adapter was made for, where that is known not to be the base model.

    A folder that is not on this machine, and the name on the hub of what lies in a folder here, say nothing.
    """
    task, named = config.task_type, config.base_model_name_or_path
    if task == "SEQ_2_SEQ_LM" and base.architecture == "decoder":
        return f"an encoder-decoder ({named})"
    if task == "CAUSAL_LM" and base.architecture == "encoder_decoder":
        return f"a decoder ({named})"
    if not named:
        return None
    folder = Path(named).expanduser()
    if folder.is_dir():
        own = Path(origin(base.name, base.entry)[0])
        return None if folder.resolve() == own.resolve() or same_weights(folder, own) else str(named)
    if base.entry.hub and HUB_ID.fullmatch(named) and named.lower() != base.entry.hub.lower():
        return str(named)
    return None
