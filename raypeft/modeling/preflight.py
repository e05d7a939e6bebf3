"""What would make trials fail, or be something else than they are called, found before anything is trained."""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import peft

from raypeft.data.chat import prompts_for
from raypeft.errors import UserError
from raypeft.modeling.adapters import TASKS, peft_arguments, resolved_modules
from raypeft.modeling.fitting import POSITIONS, check_tokenizer, needed_positions, positions
from raypeft.modeling.layout import MODULE_ARGUMENTS, missing_list, needed_lists, target_lists
from raypeft.modeling.precision import NO_BITSANDBYTES, has_bitsandbytes
from raypeft.modeling.source import is_here, model_config, model_tokenizer, skeleton
from raypeft.modeling.technique_faults import USUAL_STEPS, technique_problems
from raypeft.spec.resolve import ResolvedStudy
from raypeft.spec.technique import Technique, Value

EXACT = ("target_modules", "feedforward_modules", "modules_to_save", "exclude_modules")
PARAMETERS = "target_parameters"
PATTERNS = ("rank_pattern", "alpha_pattern")


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
            if names != "all-linear" and not any(_matches(names, one) for one in known):
                found.append(f"{argument}: the regular expression {names!r} fits no module of the model")
        elif absent := [name for name in names if not any(_called(one, name) for one in known)]:
            inside = sorted({part for one in shown if not (part := one.rpartition(".")[2]).isdigit()})
            found.append(f"{argument}: the model has no {_listed(absent)}; it has {_listed(inside)}")
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


def _listed(names: Iterable[object]) -> str:
    return ", ".join(str(name) for name in names)


def study_problems(resolved: ResolvedStudy) -> list[str]:
    """Every problem with a study's techniques, its models, and how they go together, one each.

    Of a model that is on this machine the files, the list of tensors, configuration, tokenizer and chat template are
    looked at, not its weights. One that the hub does not give is no problem here: its trials end with the reason, the
    others run.
    """
    found, usable = [], {}
    for name, technique in resolved.techniques.items():
        problems = technique_problems(name, technique)
        found += problems
        if not problems:
            usable[name] = technique
    if not has_bitsandbytes():
        quantized = [name for name, technique in resolved.techniques.items() if technique.quantization is not None]
        found += [f"techniques.{name}.quantization: {NO_BITSANDBYTES}" for name in quantized]
    for model in resolved.models:
        found += model_problems(resolved, model, usable)
    return list(dict.fromkeys(found))


def model_problems(resolved: ResolvedStudy, model: str, techniques: dict[str, Technique]) -> list[str]:
    """What is wrong with a model, with its prompts, and with what techniques want of it.

    Args:
        resolved: the study.
        model: its name there.
        techniques: by name, those with no fault of their own.
    """
    entry = resolved.models[model]
    if missing := _missing_lists(resolved, model):
        return missing
    if not is_here(entry):
        return _prompt_problems(resolved, model)
    try:
        bare = skeleton(model, entry)
    except UserError as error:
        return [str(error)]
    found = _prompt_problems(resolved, model, bare)
    for name in _techniques_of(resolved, model):
        if name in techniques:
            found += _unattached(resolved, model, bare, name, techniques[name])
    return found


def _techniques_of(resolved: ResolvedStudy, model: str) -> list[str]:
    return [Path(technique).stem for name, technique in resolved.study.pairs() if name == model]


def _missing_lists(resolved: ResolvedStudy, model: str) -> list[str]:
    entry = resolved.models[model]
    stems = _techniques_of(resolved, model)
    needed = dict.fromkeys(name for stem in stems for name in needed_lists(resolved.techniques[stem]))
    if needed.keys() <= entry.targets.keys():
        return []
    try:
        model_type = model_config(model, entry).model_type
    except UserError:
        return []
    known = target_lists(entry, model_type)
    return [missing_list(name, model, model_type) for name in needed if name not in known]


def _prompt_problems(resolved: ResolvedStudy, model: str, bare: Any = None) -> list[str]:
    """What is wrong with tokenizer and chat template, and with the lengths that the data sets allow.

    Args:
        resolved: the study.
        model: its name there.
        bare: its skeleton, where it is on this machine; of another only the chat template is looked at.
    """
    entry, protocol = resolved.models[model], resolved.study.protocol
    chat = protocol.style_of(entry.prompt_style) == "chat"
    if bare is None and not chat:
        return []
    try:
        tokenizer = model_tokenizer(model, entry)
    except UserError as error:
        return [] if bare is None else [str(error)]
    try:
        if bare is not None:
            check_tokenizer(tokenizer, bare, bare.name_or_path, f"models.{model}")
        encoder = bare is not None and bare.config.is_encoder_decoder
        prompts = prompts_for(protocol, model, entry, tokenizer, "encoder_decoder" if encoder else "decoder")
        prompts.check()
    except UserError as error:
        return [str(error)]
    return [] if bare is None else _too_few_positions(resolved, model, bare.config, prompts.own_tokens)


def _too_few_positions(resolved: ResolvedStudy, model: str, config: Any, template: int) -> list[str]:
    """Data sets, with techniques, whose longest items a model has no positions for."""
    limit = positions(config)
    if limit is None:
        return []
    found = []
    virtual = {name: _virtual_tokens(resolved.techniques[name]) for name in _techniques_of(resolved, model)}
    more = {name: tokens for name, tokens in virtual.items() if tokens}
    for dataset in resolved.study.datasets:
        entry = resolved.datasets[dataset]
        prompt, code = entry.max_prompt_tokens + template, entry.max_code_tokens
        for technique, tokens in {"": 0, **more}.items():
            if needed_positions(prompt, code, tokens, config.is_encoder_decoder) <= limit:
                continue
            beside = f" and {tokens} virtual tokens of techniques.{technique}" if tokens else ""
            found.append(
                f"models.{model}: has {limit} positions ({POSITIONS} in its config.json), too few for {prompt} tokens "
                f"of prompt and {code} of code in datasets.{dataset}{beside}"
            )
            if not tokens:
                break
    return found


def _virtual_tokens(technique: Technique) -> int:
    """The most virtual tokens that a technique may have."""
    dimension = technique.search.get("num_virtual_tokens")
    values = [technique.arguments.get("num_virtual_tokens", 0)]
    if dimension is not None:
        values += dimension.choice or dimension.bounds
    return max(int(value) for value in values)


def _unattached(resolved: ResolvedStudy, model: str, bare: Any, name: str, technique: Technique) -> list[str]:
    """Modules that a technique names and the model does not have, and why peft cannot attach it."""
    if technique.peft is None:
        return []
    lists = target_lists(resolved.models[model], bare.config.model_type)
    found: dict[str, None] = {}
    for point in _points(technique):
        arguments = peft_arguments(technique, point, USUAL_STEPS)
        for argument in MODULE_ARGUMENTS:
            if argument in arguments:
                arguments[argument] = resolved_modules(arguments[argument], lists)
        where = f"techniques.{name} on models.{model}"
        if absent := unmatched_names(arguments, bare):
            found |= dict.fromkeys(f"{where}: {line}" for line in absent)
        elif reason := _refusal(technique, arguments, bare):
            found[f"{where}: peft.{technique.peft} cannot be attached: {reason}"] = None
    return list(found)


def _points(technique: Technique) -> Iterator[dict[str, Value]]:
    """The first point, and that with each other choice of modules."""
    yield dict(technique.paper)
    for argument in MODULE_ARGUMENTS:
        if (dimension := technique.search.get(argument)) is not None:
            yield from ({**technique.paper, argument: value} for value in dimension.choice or ())


def _refusal(technique: Technique, arguments: dict[str, Any], bare: Any) -> str | None:
    """Why peft does not attach an adapter to a model without weights."""
    if "prompt_tuning_init_text" in arguments:
        return None  # it needs the embeddings themselves
    task = TASKS["encoder_decoder" if bare.config.is_encoder_decoder else "decoder"]
    try:
        config = getattr(peft, str(technique.peft))(task_type=task, **arguments)
        peft.get_peft_model(copy.deepcopy(bare), config, low_cpu_mem_usage=True)
    except (ValueError, TypeError) as error:
        return str(error).strip()
    except ImportError as error:
        return None if error.name == "bitsandbytes" else str(error)  # quantised weights have a line of their own
    except Exception:  # it needs the weights: what else is wrong a trial will tell
        return None
    return None
