"""What would make a study's trials fail, found before anything is trained."""

from pathlib import Path

from raypeft.errors import UserError
from raypeft.modeling.adapters import technique_problems
from raypeft.modeling.loading import model_config
from raypeft.modeling.precision import NO_BITSANDBYTES, has_bitsandbytes
from raypeft.modeling.targets import missing_list, needed_lists, target_lists
from raypeft.spec.resolve import ResolvedStudy


def study_problems(resolved: ResolvedStudy) -> list[str]:
    """Every problem with a study's techniques, their needs, and the modules they adapt, one line each.

    A model whose configuration cannot be read is no problem here: its trials end with the reason, the others run.
    """
    techniques = resolved.techniques.items()
    found = [problem for name, technique in techniques for problem in technique_problems(name, technique)]
    if not has_bitsandbytes():
        quantized = [name for name, technique in techniques if technique.quantization is not None]
        found += [f"techniques.{name}.quantization: {NO_BITSANDBYTES}" for name in quantized]
    for model in resolved.models:
        found += _missing_lists(resolved, model)
    return found


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
