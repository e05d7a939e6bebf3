"""Names of modules, layers and parameters in a technique, of which peft ignores those that it does not find."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

EXACT = ("target_modules", "feedforward_modules", "modules_to_save", "exclude_modules")
PARAMETERS = "target_parameters"
PATTERNS = ("rank_pattern", "alpha_pattern")
KEYWORDS = ("all-linear",)


def unmatched_names(arguments: Mapping[str, Any], model: Any) -> list[str]:
    """Names in the arguments of a peft class that nothing in a model is called by, a line for each argument.

    Args:
        arguments: of the class, module lists of the catalogue replaced by their modules.
        model: loaded, or its skeleton.
    """
    modules = [name for name, _ in model.named_modules() if name]
    weighted = [name for name, module in model.named_modules() if name and hasattr(module, "weight")]
    parameters = [name for name, _ in model.named_parameters()]
    found = []
    for argument in (*EXACT, PARAMETERS):
        names = arguments.get(argument) or ()
        known, shown = (parameters, parameters) if argument == PARAMETERS else (modules, weighted)
        if isinstance(names, str):
            if names not in KEYWORDS and not any(_matches(names, one) for one in known):
                found.append(f"{argument}: the regular expression {names!r} fits no module of the model")
        elif absent := [name for name in names if not any(_called(one, name) for one in known)]:
            found.append(f"{argument}: the model has no {_listed(absent)}; it has {_listed(_last_parts(shown))}")
    for argument in PATTERNS:
        if absent := [key for key in arguments.get(argument) or () if not any(_fits(key, one) for one in modules)]:
            found.append(f"{argument}: {_listed(absent)} fits no module of the model")
    layers = arguments.get("layers_to_transform")
    wanted = [layers] if isinstance(layers, int) else layers or []
    if absent := [str(layer) for layer in wanted if not any(f".{layer}." in f".{one}." for one in modules)]:
        found.append(f"layers_to_transform: the model has no layer {_listed(absent)}")
    return found


def _called(one: str, name: object) -> bool:
    return one == name or one.endswith(f".{name}")


def _matches(expression: str, one: str) -> bool:
    try:
        return re.fullmatch(expression, one) is not None
    except re.error:
        return False


def _fits(key: str, one: str) -> bool:
    """How peft looks up a module in its patterns."""
    return _matches(rf"(.*\.)?({key})", one)


def _last_parts(names: Iterable[str]) -> list[str]:
    """What modules are called inside their layer."""
    return sorted({part for name in names if not (part := name.rpartition(".")[2]).isdigit()})


def _listed(names: Iterable[object]) -> str:
    return ", ".join(str(name) for name in names)
