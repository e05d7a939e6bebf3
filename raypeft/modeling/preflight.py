"""What would make a study's trials fail, found before anything is trained."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import peft

from raypeft.data.chat import prompts_for
from raypeft.errors import UserError
from raypeft.modeling.adapters import peft_arguments
from raypeft.modeling.loading import model_config, model_tokenizer
from raypeft.modeling.precision import NO_BITSANDBYTES, has_bitsandbytes
from raypeft.modeling.targets import missing_list, needed_lists, target_lists
from raypeft.spec.resolve import ResolvedStudy
from raypeft.spec.technique import Technique, Value

USUAL_STEPS = 1000  # of a training whose number of steps is not known yet


def study_problems(resolved: ResolvedStudy) -> list[str]:
    """Every problem with a study's techniques, their needs, the modules they adapt and chat templates, one line each.

    A model whose configuration or tokenizer cannot be read is no problem here: its trials end with the reason, the
    others run.
    """
    techniques = resolved.techniques.items()
    found = [problem for name, technique in techniques for problem in technique_problems(name, technique)]
    if not has_bitsandbytes():
        quantized = [name for name, technique in techniques if technique.quantization is not None]
        found += [f"techniques.{name}.quantization: {NO_BITSANDBYTES}" for name in quantized]
    for model in resolved.models:
        found += _missing_lists(resolved, model) + _missing_template(resolved, model)
    return found


def technique_problems(name: str, technique: Technique) -> list[str]:
    """What of a technique its peft class does not know or accept: the class itself, arguments by name, their values."""
    if technique.peft is None:
        return []
    kind = getattr(peft, technique.peft, None)
    if not (isinstance(kind, type) and issubclass(kind, peft.PeftConfig)):
        known = sorted(entry for entry in dir(peft) if entry.endswith("Config"))
        return [f"techniques.{name}.peft: peft has no configuration '{technique.peft}'; it has {', '.join(known)}"]
    fields = {field.name for field in dataclasses.fields(kind)}
    unknown = [
        f"techniques.{name}.{section}.{argument}: peft.{technique.peft} has no such argument"
        for section, arguments in (("arguments", technique.arguments), ("search", technique.search))
        for argument in arguments
        if argument not in fields | {"learning_rate"}
    ]
    return unknown or _refused_values(name, technique, kind)


def _refused_values(name: str, technique: Technique, kind: type[peft.PeftConfig]) -> list[str]:
    """What the class says of the paper's point, or of the values searched, each put in its place."""
    drawn = technique.to_drawn(technique.paper)
    if reason := _refusal(technique, technique.paper, kind):
        return [f"techniques.{name}: peft.{technique.peft} refuses the paper's point: {reason}"]
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
    except (ValueError, TypeError, ImportError) as error:
        return str(error).strip()
    return None


def _missing_template(resolved: ResolvedStudy, model: str) -> list[str]:
    entry, protocol = resolved.models[model], resolved.study.protocol
    if protocol.style_of(entry.prompt_style) != "chat":
        return []
    try:
        tokenizer = model_tokenizer(model, entry)
    except UserError:
        return []
    try:
        prompts_for(protocol, model, entry, tokenizer, "decoder")
    except UserError as error:
        return [str(error)]
    return []


def _missing_lists(resolved: ResolvedStudy, model: str) -> list[str]:
    entry = resolved.models[model]
    stems = [Path(technique).stem for name, technique in resolved.study.pairs() if name == model]
    needed = dict.fromkeys(name for stem in stems for name in needed_lists(resolved.techniques[stem]))
    if needed.keys() <= entry.targets.keys():
        return []
    try:
        model_type = model_config(model, entry).model_type
    except UserError:
        return []
    known = target_lists(entry, model_type)
    return [missing_list(name, model, model_type) for name in needed if name not in known]
