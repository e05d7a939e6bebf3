"""What would make a study's trials fail, found before anything is trained."""

from pathlib import Path

from raypeft.data.chat import prompts_for
from raypeft.errors import UserError
from raypeft.modeling.adapters import technique_problems
from raypeft.modeling.loading import model_config, model_tokenizer
from raypeft.modeling.precision import NO_BITSANDBYTES, has_bitsandbytes
from raypeft.modeling.targets import missing_list, needed_lists, target_lists
from raypeft.spec.resolve import ResolvedStudy


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
