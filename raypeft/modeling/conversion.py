"""Adapters whose initialisation takes its part out of the base's weights (PiSSA, OLoRA), kept as plain LoRA.

Such an adapter serves only on a base that the same initialisation has rewritten, and some draw it anew at each loading.
What training adds to the base, B A - B0 A0 with A0 and B0 as they began, is LoRA of twice the rank on the base as it
was: the file holds A above A0 and B beside -B0. peft's own conversion drops biases and whole modules that are trained
as well, and puts a second adapter into the model in training.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file

from raypeft.output.files import write_json

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
