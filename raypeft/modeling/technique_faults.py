"""What of a technique peft does not know or accept, or takes and does not do: found from its file alone."""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import peft

from raypeft.modeling.adapter_files import UNUSABLE
from raypeft.modeling.adapters import peft_arguments
from raypeft.spec.technique import Technique, Value, share_of_steps

USUAL_STEPS = 1000  # of a training whose number of steps is not known yet

# What a study knows by itself, but a pasted adapter_config.json says as well.
OWN = {
    "peft_type": "the class under `peft` says it",
    "task_type": "it follows from the model's architecture",
    "inference_mode": "adapters are trained, then tested",
    "base_model_name_or_path": "it is the study's model",
    "revision": "it is the model's, in the catalogue",
    "tokenizer_name_or_path": "it is the model's tokenizer",
    "peft_version": "it is the installed one",
    "auto_mapping": "transformers has the study's models",
}
LEFT_OUT = "leave it out: {reason}"

# Initialisations that look at data or gradients first, without which peft silently takes another, or fails.
FROM_DATA = {
    "eva": "peft.initialize_lora_eva_weights",
    "corda": "preprocess_corda of peft",
    "lora_ga": "peft.preprocess_loraga",
}
INITIALISATIONS = ("init_lora_weights", "init_weights")


def technique_problems(name: str, technique: Technique) -> list[str]:
    """Everything about a technique by which its trials would fail, or be something else than it says, one line each."""
    if technique.peft is None:
        return []
    kinds = {kind.__name__: kind for kind in peft.PEFT_TYPE_TO_CONFIG_MAPPING.values()}
    if (kind := kinds.get(technique.peft)) is None:
        known = sorted(kinds.keys() - UNUSABLE.keys())
        return [f"techniques.{name}.peft: peft has no configuration '{technique.peft}'; it has {', '.join(known)}"]
    if technique.peft in UNUSABLE:
        return [f"techniques.{name}.peft: peft.{technique.peft} cannot be studied: {UNUSABLE[technique.peft]}"]
    fields = {field.name for field in dataclasses.fields(kind)}
    named = [
        (f"techniques.{name}.{section}.{argument}", argument)
        for section, arguments in (("arguments", technique.arguments), ("search", technique.search))
        for argument in arguments
    ]
    found = [f"{key}: " + LEFT_OUT.format(reason=OWN[argument]) for key, argument in named if argument in OWN]
    found += [
        f"{key}: peft.{technique.peft} has no such argument"
        for key, argument in named
        if argument not in fields | OWN.keys() | {"learning_rate"}
    ]
    if found:
        return found
    found = [f"techniques.{name}.{line}" for line in [*_not_whole(technique, kind), *_without_data(technique)]]
    return found or _refused_values(name, technique, kind)


def _values(technique: Technique) -> Iterator[tuple[str, str, Any]]:
    """(key, argument, value) of every value that a technique gives an argument, the bounds of ranges included."""
    for source, given in (
        ("arguments", technique.arguments),
        ("paper", technique.paper),
        ("package", technique.package),
    ):
        yield from ((f"{source}.{name}", name, value) for name, value in given.items())
    drawn = technique.to_drawn(technique.paper)
    for name, (drawn_name, dimension) in zip(technique.search, technique.space.items(), strict=True):
        for value in dimension.choice or dimension.bounds:
            yield f"search.{name}", name, technique.from_drawn(drawn | {drawn_name: value})[name]


def _not_whole(technique: Technique, kind: type[peft.PeftConfig]) -> list[str]:
    """Values that peft would count, slice or shape by, and that are no whole numbers."""
    hints = typing.get_type_hints(kind)
    whole = {name for name, hint in hints.items() if _is_whole(hint) and "alpha" not in name and "lambda" not in name}
    found: dict[str, str] = {}
    for key, name, value in _values(technique):
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if name not in whole or is_number or value is None or share_of_steps(value) is not None:
            continue
        hint = f", for example {int(value)}" if isinstance(value, float) and value.is_integer() else ""
        if key.startswith("search.") and technique.search[name].choice is None:
            found[key] = f"draws real numbers, but peft.{technique.peft} takes whole ones: use integer or log_integer"
        else:
            found.setdefault(key, f"is {value!r}, but peft.{technique.peft} takes a whole number{hint}")
    return [f"{key}: {message}" for key, message in found.items()]


def _is_whole(hint: Any) -> bool:
    """Whether a type is `int`, or that or nothing."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return set(typing.get_args(hint)) == {int, type(None)}
    return hint is int


def _without_data(technique: Technique) -> list[str]:
    found = {
        key: f"{value} needs {FROM_DATA[value]} on data before training, which a study does not run: losses would be "
        "those of another initialisation"
        for key, name, value in _values(technique)
        if name in INITIALISATIONS and isinstance(value, str) and value in FROM_DATA
    }
    return [f"{key}: {message}" for key, message in found.items()]


def _refused_values(name: str, technique: Technique, kind: type[peft.PeftConfig]) -> list[str]:
    """What the class says of the technique's first point, or of the values searched, each put in its place."""
    drawn = technique.to_drawn(technique.paper)
    if reason := _refusal(technique, technique.paper, kind):
        return [f"techniques.{name}: peft.{technique.peft} refuses the first point (paper): {reason}"]
    found = []
    for searched, (drawn_name, dimension) in zip(technique.search, technique.space.items(), strict=True):
        for value in dimension.choice or dimension.bounds:
            if reason := _refusal(technique, technique.from_drawn(drawn | {drawn_name: value}), kind):
                found.append(f"techniques.{name}.search.{searched}: peft.{technique.peft} refuses {value}: {reason}")
    return found


def _refusal(technique: Technique, point: Mapping[str, Value], kind: type[peft.PeftConfig]) -> str | None:
    arguments = peft_arguments(technique, point, USUAL_STEPS)
    if "prompt_tuning_init_text" in arguments:
        arguments["tokenizer_name_or_path"] = "the model's"
    try:
        kind(**arguments)
    except Exception as error:  # whatever a class makes of values that it does not expect
        return str(error).strip() or type(error).__name__
    return None
