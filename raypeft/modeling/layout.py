"""Where an architecture keeps its layers: the modules that techniques name, and fused projections' rows."""

from collections.abc import Mapping
from typing import get_args

import torch
from peft.utils.constants import (
    TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING,
    TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING,
)
from torch import nn
from transformers import PreTrainedConfig
from transformers.models.codegen.modeling_codegen import CodeGenAttention

from raypeft.errors import UserError
from raypeft.spec.catalogue import ModelEntry, TargetList
from raypeft.spec.technique import Technique

LISTS: tuple[TargetList, ...] = get_args(TargetList)
MODULE_ARGUMENTS = ("target_modules", "feedforward_modules")
_PEFT: dict[TargetList, Mapping[str, object]] = {
    "attention": TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING,
    "feedforward": TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING,
}


def target_lists(entry: ModelEntry, model_type: str) -> dict[TargetList, list[str]]:
    """The model's lists by name; one that neither the catalogue nor peft has is absent.

    peft's come from its defaults for LoRA (`attention`) and for IA3's feed-forward modules.

    Args:
        entry: the model in the catalogue.
        model_type: of its transformers configuration.
    """
    lists = dict(entry.targets)
    for name in LISTS:
        default = _PEFT[name].get(model_type)
        if name not in lists and isinstance(default, list) and default:
            lists[name] = list(default)
    return lists


def needed_lists(technique: Technique) -> list[TargetList]:
    """Lists that a technique's fixed or searched arguments name."""
    named: set[object] = set()
    for argument in MODULE_ARGUMENTS:
        value = technique.arguments.get(argument, [])
        named |= set(value) if isinstance(value, list) else {value}
        if (searched := technique.search.get(argument)) is not None:
            named |= set(searched.choice or ())
    return [name for name in LISTS if name in named]


def missing_list(name: str, model: str, model_type: str) -> str:
    """Message for a list that is in neither."""
    return f"models.{model}.targets.{name}: is missing, and peft has no default for {model_type} models: list modules"


NATIVE_CORES = 4
PARTS = 3


def foreign_cores(entry: ModelEntry) -> int | None:
    """Cores that a checkpoint's rows are laid out for, where transformers' class reads another order; else none."""
    return None if entry.qkv_layout == NATIVE_CORES else entry.qkv_layout


def check_layout(config: PreTrainedConfig, cores: int | None, where: str) -> None:
    """Check that a checkpoint's layout is known and that transformers' class can run it.

    Args:
        config: the model's configuration.
        cores: cores of the layout as the catalogue says, none where it says nothing.
        where: key of the model, for messages.

    Raises:
        UserError: the layout is unknown, does not fit the heads, or the model is none of CodeGen's.
    """
    if config.model_type != "codegen":
        if cores is not None:
            raise UserError(f"is for CodeGen models; this one is {config.model_type}", where=f"{where}.qkv_layout")
        return
    if cores is None and getattr(config, "auto_map", None):
        raise UserError(
            "brings its own code, so the order of its attention rows is unknown",
            where=where,
            hint=f"State {where}.qkv_layout: 8 for CodeGen2 1B and 3.7B, 4 for 7B and CodeGen.",
        )
    for needed in (cores or NATIVE_CORES, NATIVE_CORES):
        if config.n_head % needed:
            raise UserError(
                f"{config.n_head} heads cannot be shared out among {needed} cores", where=f"{where}.qkv_layout"
            )


def native_rows(width: int, cores: int) -> torch.Tensor:
    """For each row of transformers' layout, the row of a checkpoint laid out for `cores`.

    Args:
        width: of the hidden states; the projection has three times as many rows.
        cores: a divisor of `width`.
    """
    rows = torch.arange(PARTS * width).view(cores, PARTS, width // cores)
    by_part = rows.transpose(0, 1).reshape(PARTS, NATIVE_CORES, width // NATIVE_CORES)
    return by_part.transpose(0, 1).flatten()


@torch.no_grad()
def to_native_layout(model: nn.Module, cores: int) -> None:
    """Reorder the rows of every fused projection from a layout for `cores` to that of transformers' class."""
    for module in model.modules():
        if isinstance(module, CodeGenAttention):
            weight = module.qkv_proj.weight
            weight.copy_(weight[native_rows(weight.shape[1], cores).to(weight.device)])


PROJECTION = "qkv_proj"
# Shared among layers of different widths, so that the rows of one layer cannot be moved.
SHARED = "vera_B"


def to_checkpoint_rows(weights: Mapping[str, torch.Tensor], width: int, cores: int) -> dict[str, torch.Tensor]:
    """Reverse `to_native_layout` in an adapter: whatever has a row for each output of the projection is moved back.

    Args:
        weights: tensors of the adapter file.
        width: of the model's hidden states.
        cores: of the checkpoint's layout.

    Raises:
        UserError: the adapter shares its output rows among layers (VeRA).
    """
    if any(SHARED in name for name in weights) and any(PROJECTION in name for name in weights):
        raise UserError(
            "VeRA shares its output rows among layers, so they cannot be put into the order of this model's checkpoint",
            hint="Export it with --merge.",
        )
    rows = native_rows(width, cores)
    moved = dict(weights)
    for name, tensor in weights.items():
        if PROJECTION in name and tensor.shape[0] == PARTS * width:
            moved[name] = torch.empty_like(tensor)
            moved[name][rows] = tensor
    return moved
