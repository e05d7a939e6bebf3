"""Module lists of a model: the catalogue's, or peft's own for the architecture."""

from collections.abc import Mapping
from typing import get_args

from peft.utils.constants import (
    TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING,
    TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING,
)

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
