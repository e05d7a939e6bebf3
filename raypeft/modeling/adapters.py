"""Adapting a base model and giving it back as it was."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peft
import torch
from transformers import set_seed

from raypeft.modeling.loading import Base, discard_warm
from raypeft.spec.technique import Technique, Value

TASKS = {"decoder": "CAUSAL_LM", "encoder_decoder": "SEQ_2_SEQ_LM"}


def adapter_config(base: Base, technique: Technique, hyperparameters: Mapping[str, Value]) -> peft.PeftConfig:
    """The peft configuration of one hyperparameter point.

    Names of the model's target lists in `target_modules` and `feedforward_modules` are replaced by its modules.

    Raises:
        ValueError: full fine-tuning has no adapter.
    """
    if technique.peft is None:
        raise ValueError("full fine-tuning has no adapter")
    arguments = dict(technique.arguments)
    for key in ("target_modules", "feedforward_modules"):
        if isinstance(names := arguments.get(key), list):
            arguments[key] = [module for name in names for module in base.entry.targets.get(name, [name])]
    if "prompt_tuning_init_text" in arguments:
        arguments["tokenizer_name_or_path"] = base.source
    arguments |= {name: value for name, value in hyperparameters.items() if name != "learning_rate"}
    return getattr(peft, technique.peft)(task_type=TASKS[base.entry.architecture], **arguments)


def technique_problems(name: str, technique: Technique) -> list[str]:
    """What of a technique its peft class does not know: the class itself, or arguments by name."""
    if technique.peft is None:
        return []
    kind = getattr(peft, technique.peft, None)
    if not (isinstance(kind, type) and issubclass(kind, peft.PeftConfig)):
        known = sorted(entry for entry in dir(peft) if entry.endswith("Config"))
        return [f"techniques.{name}.peft: peft has no configuration '{technique.peft}'; it has {', '.join(known)}"]
    fields = {field.name for field in dataclasses.fields(kind)}
    return [
        f"techniques.{name}.{section}.{argument}: peft.{technique.peft} has no such argument"
        for section, arguments in (("arguments", technique.arguments), ("search", technique.search))
        for argument in arguments
        if argument not in fields | {"learning_rate"}
    ]


@contextmanager
def adapted(
    base: Base,
    technique: Technique,
    hyperparameters: Mapping[str, Value],
    *,
    seed: int,
    saved: Path | None = None,
) -> Iterator[Any]:
    """The model to train or to decode with: the base with a new or saved adapter, or a copy of it for full fine-tuning.

    Trainable weights are in fp32 whatever the base's precision. Leaving the context gives the base back as it was.

    Args:
        base: the base model.
        technique: how it is adapted.
        hyperparameters: arguments of the peft class among them.
        seed: of the adapter's initialisation.
        saved: folder of saved weights to start from.
    """
    set_seed(seed)
    if technique.kind == "full":
        yield _full(base, saved)
        return
    model = None
    try:
        config = adapter_config(base, technique, hyperparameters)
        if saved is None:
            model = peft.get_peft_model(base.model, config)
        elif config.is_prompt_learning:
            # peft loads a saved prompt for inference only
            model = peft.get_peft_model(base.model, config)
            peft.set_peft_model_state_dict(model, peft.load_peft_weights(str(saved), device=str(base.device)))
        else:
            model = peft.PeftModel.from_pretrained(base.model, str(saved), is_trainable=True)
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.dtype in (torch.float16, torch.bfloat16):
                parameter.data = parameter.data.float()
        yield model
    except Exception:
        # A fault during injection or training may leave the base in any state.
        discard_warm()
        raise
    finally:
        if model is not None:
            base.model = _detached(model)


def _full(base: Base, saved: Path | None) -> Any:
    if saved is not None:
        model = type(base.model).from_pretrained(str(saved), dtype=torch.float32).to(base.device)
    else:
        model = copy.deepcopy(base.model).float()
    return model.requires_grad_(True)


def _detached(model: peft.PeftModel) -> Any:
    """The base model without its adapter (peft's `unload`, which prompt learning has no need of)."""
    inner = model.get_base_model() if model.active_peft_config.is_prompt_learning else model.unload()
    for name in ("peft_config", "_hf_peft_config_loaded"):
        if name in vars(inner):
            delattr(inner, name)
    return inner.eval().requires_grad_(False)
