"""Files of adapters: whether they can be used, and those that are saved converted."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file

from raypeft.errors import UserError
from raypeft.modeling.loading import Base
from raypeft.modeling.source import origin
from raypeft.modeling.weights import check_files, check_numbers, listed_first, same_weights
from raypeft.output.files import write_json

VIRTUAL = "the beam search does not know its kind of virtual tokens"
UNUSABLE = {
    "AdaptionPromptConfig": "it replaces the attention layers of the base, which peft does not give back",
    "CPTConfig": VIRTUAL,
    "CartridgeConfig": VIRTUAL,
    "MultitaskPromptTuningConfig": "it needs the number of a task beside each text",
    "PolyConfig": "it needs the number of a task beside each text",
    "ShadowConfig": "it keeps hidden states of its own beside those of the base, which beam search does not hand on",
    "XLoraConfig": "it mixes adapters that have been trained before",
}


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


WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
MOVING = ("pissa", "olora", "corda", "lora_ga")
DOWN, UP = "lora_A.weight", "lora_B.weight"
ADAPTER = "default"


def moves_base(config: Any) -> bool:
    """Whether a peft configuration begins by rewriting the weights that it adapts."""
    return (
        isinstance(config, peft.LoraConfig)
        and config.peft_type == peft.PeftType.LORA
        and str(config.init_lora_weights).lower().startswith(MOVING)
    )


def remember_start(model: peft.PeftModel) -> None:
    """Keep A0 and B0 of a new adapter with it, for `convert`; quantised bases are left out.

    Those take the adapter out with a rounding of their own, which is repeated where the adapter is loaded.
    """
    if not moves_base(model.active_peft_config):
        return
    if all(layer.get_base_layer().weight.is_floating_point() for layer in _layers(model)):
        state = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
        model.start = {name: value.to("cpu", copy=True) for name, value in state.items() if name.endswith((DOWN, UP))}


def convert(model: Any, folder: Path) -> None:
    """Rewrite an adapter that was just saved as plain LoRA on the base as it was, if its start is remembered."""
    start: Mapping[str, torch.Tensor] | None = vars(model).get("start")
    if start is None:
        return
    weights = load_file(folder / WEIGHTS)
    for name, began in start.items():
        down = name.endswith(DOWN)
        weights[name] = torch.cat([weights[name], began if down else -began], dim=0 if down else 1).contiguous()
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    # The scale is alpha / r, or alpha / sqrt(r), and stays.
    growth = math.sqrt(2) if config["use_rslora"] else 2
    config |= {"init_lora_weights": True, "r": 2 * config["r"], "lora_alpha": growth * config["lora_alpha"]}
    config["rank_pattern"] = {name: 2 * rank for name, rank in config["rank_pattern"].items()}
    config["alpha_pattern"] = {name: growth * alpha for name, alpha in config["alpha_pattern"].items()}
    write_json(folder / CONFIG, config | {"corda_config": None, "lora_ga_config": None})


def is_converted(folder: Path, config: Any) -> bool:
    """Whether what is saved in a folder is the converted adapter of a configuration."""
    if not moves_base(config):
        return False
    saved = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return saved["init_lora_weights"] is True and saved["r"] == 2 * config.r


@torch.no_grad()
def resume(base_model: Any, config: peft.LoraConfig, folder: Path) -> peft.PeftModel:
    """A converted adapter as it was in training: its start taken out of the base's weights, and beside it A and B."""
    initialisation, config.init_lora_weights = config.init_lora_weights, True
    model = peft.get_peft_model(base_model, config)
    config.init_lora_weights = initialisation
    trained, start = load_file(folder / WEIGHTS), dict[str, torch.Tensor]()
    for name, value in trained.items():
        if name.endswith(DOWN):
            trained[name], start[name] = (half.clone() for half in value.chunk(2))
        elif name.endswith(UP):
            trained[name], negative = (half.clone() for half in value.chunk(2, dim=1))
            start[name] = -negative
    peft.set_peft_model_state_dict(model, trained | start)
    for layer in _layers(model):
        # In the order and precision that peft does it in, so that the trial goes on as if undisturbed.
        part = layer.scaling[ADAPTER] * layer.lora_B[ADAPTER].weight @ layer.lora_A[ADAPTER].weight
        weight = layer.get_base_layer().weight
        weight.data = (weight.float() - (part.T if layer.fan_in_fan_out else part)).to(weight.dtype)
    peft.set_peft_model_state_dict(model, trained)
    model.start = start
    return model


def _layers(model: peft.PeftModel) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, LoraLayer)]
