"""Adapting a base model and giving it back as it was."""

import copy
import functools
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import peft
import torch
from transformers import set_seed

from raypeft.errors import UserError
from raypeft.modeling.adapter_files import is_converted, put_on, remember_start, resume
from raypeft.modeling.fingerprint import FILE as TRAINING_STATE
from raypeft.modeling.fingerprint import load_training_state
from raypeft.modeling.layout import LISTS, MODULE_ARGUMENTS, missing_list
from raypeft.modeling.loading import Base
from raypeft.modeling.source import WITH_INFO
from raypeft.modeling.weights import check_complete
from raypeft.spec.catalogue import TargetList
from raypeft.spec.technique import Technique, Value, share_of_steps

log = logging.getLogger("raypeft.trial")
TASKS = {"decoder": "CAUSAL_LM", "encoder_decoder": "SEQ_2_SEQ_LM"}


def adapter_config(
    base: Base, technique: Technique, hyperparameters: Mapping[str, Value], steps: int | None = None
) -> peft.PeftConfig:
    """The peft configuration of one hyperparameter point.

    Names of the model's target lists in `target_modules` and `feedforward_modules` are replaced by its modules, shares
    of the training by numbers of steps.

    Args:
        base: the model to adapt.
        technique: how.
        hyperparameters: arguments of the peft class, and `learning_rate`.
        steps: optimiser steps of the training.

    Raises:
        ValueError: full fine-tuning has no adapter, or a share of the steps is asked for without `steps`.
        UserError: neither the catalogue nor peft has a module list that the technique names.
    """
    if technique.peft is None:
        raise ValueError("full fine-tuning has no adapter")
    arguments = peft_arguments(technique, hyperparameters, steps)
    for name in MODULE_ARGUMENTS:
        if name in arguments:
            arguments[name] = _modules(base, arguments[name])
    if "prompt_tuning_init_text" in arguments:
        arguments["tokenizer_name_or_path"] = base.source
    return getattr(peft, technique.peft)(task_type=TASKS[base.architecture], **arguments)


def peft_arguments(technique: Technique, hyperparameters: Mapping[str, Value], steps: int | None) -> dict[str, Any]:
    """Fixed and searched arguments of the peft class, shares of the training as numbers of steps.

    Raises:
        ValueError: a share of the steps is asked for without `steps`.
    """
    # peft writes into lists that it is given
    arguments: dict[str, Any] = copy.deepcopy({**technique.arguments, **hyperparameters})
    arguments.pop("learning_rate", None)
    for name, value in arguments.items():
        if (share := share_of_steps(value)) is not None:
            if steps is None:
                raise ValueError(f"{name} is a share of the training steps, which are not given")
            arguments[name] = max(1, round(share * steps))
    return arguments


def _modules(base: Base, named: str | list[str]) -> str | list[str]:
    names = [named] if isinstance(named, str) else named
    if absent := [name for name in names if name in LISTS and name not in base.targets]:
        raise UserError(missing_list(absent[0], base.name, base.model.config.model_type))
    return resolved_modules(named, base.targets)


def resolved_modules(named: str | list[str], lists: Mapping[TargetList, list[str]]) -> str | list[str]:
    """Modules for names of lists; other names, and peft's `all-linear`, stay as they are."""
    if isinstance(named, str) and named not in LISTS:
        return named
    names = [named] if isinstance(named, str) else named
    return [module for name in names for module in lists.get(cast(TargetList, name), [name])]


def parameter_counts(model: Any) -> tuple[int, int]:
    """Trainable and all weights of a model, those that 4-bit quantisation packs into one byte counted apart."""
    if isinstance(model, peft.PeftModel):
        return model.get_nb_trainable_parameters()
    trainable = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return trainable, sum(weight.numel() for weight in model.parameters())


@contextmanager
def adapted(
    base: Base,
    technique: Technique,
    hyperparameters: Mapping[str, Value],
    *,
    seed: int,
    steps: int | None = None,
    saved: Path | None = None,
) -> Iterator[Any]:
    """The model to train or to decode with: the base with a new or saved adapter, or a copy of it for full fine-tuning.

    Trainable weights are in fp32 whatever the base's precision. Leaving the context, however it ends, gives the base
    back: as it was, which is proven, or dropped, to be loaded anew when it is asked for next, which the log says.

    Args:
        base: the base model.
        technique: how it is adapted.
        hyperparameters: arguments of the peft class among them.
        seed: of the adapter's initialisation.
        steps: optimiser steps of the training, where the model is to be trained.
        saved: folder of saved weights to start from.
    """
    lent = base.model
    uses_cache = getattr(lent.config, "use_cache", None)
    attributes = {module: set(vars(module)) for module in lent.modules()}
    new_config = functools.partial(adapter_config, base, technique, hyperparameters, steps)
    # After loading, which draws random numbers: an adapter starts as in a process of its own.
    set_seed(seed)
    model = None
    try:
        if technique.kind == "full":
            model = _full(base, saved)
        elif saved is None:
            with _uninitialised_as_nan():
                model = peft.get_peft_model(base.model, new_config())
            _check_initialised(model, technique)
            remember_start(model)
        elif steps is not None and is_converted(saved, config := new_config()):
            model = resume(base.model, config, saved)
        else:
            model = _saved(base, saved)
        if isinstance(model, peft.PeftModel):
            _train_in_fp32(model)
        yield model
    finally:
        base.take_back(functools.partial(_detached, lent, model, attributes, uses_cache))
        if base.changed:
            log.info("%s left the base model changed (%s): it is loaded anew", technique.title, base.changed)


def with_saved(base: Base, technique: Technique, saved: Path) -> Any:
    """The model that saved weights make of a base, which it takes for itself: nothing else may use the base then.

    Args:
        base: the base model, which no other holds.
        technique: how it was adapted.
        saved: folder of the saved weights.
    """
    return _full(base, saved) if technique.kind == "full" else _saved(base, saved)


@contextmanager
def _uninitialised_as_nan() -> Iterator[None]:
    """Have torch fill memory that nothing has been written to with values that are no numbers."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _check_initialised(model: Any, technique: Technique) -> None:
    """Refuse an adapter that begins with what memory happened to hold (peft's TinyLoRA with `init_weights: false`)."""
    for name, weight in model.named_parameters():
        if weight.requires_grad and not bool(weight.isfinite().all()):
            raise UserError(
                f"peft.{technique.peft} leaves {name} without initial values, or with such as are no numbers",
                hint="Change how it is initialised, in the technique's arguments.",
            )


def _train_in_fp32(model: peft.PeftModel) -> None:
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.float()


def _full(base: Base, saved: Path | None) -> Any:
    if saved is not None:
        model, info = type(base.model).from_pretrained(str(saved), dtype=torch.float32, **WITH_INFO)
        check_complete(info, model, str(saved), f"models.{base.name}")
        model.to(base.device)
    else:
        model = copy.deepcopy(base.model).float()
    return model.requires_grad_(True)


def _saved(base: Base, saved: Path) -> peft.PeftModel:
    """The base with a saved adapter that can be trained on."""
    config = peft.PeftConfig.from_pretrained(str(saved))
    has_state = (saved / TRAINING_STATE).exists()
    if not (config.is_prompt_learning or has_state):
        return put_on(base, str(saved), str(saved), trainable=True)
    # peft loads virtual tokens for inference only, and AdaLoRA's layers without the ranks that may still come back
    config.inference_mode = False
    if isinstance(config, peft.PromptTuningConfig):
        config.tokenizer_name_or_path = base.source
    ranks = None
    if isinstance(config, peft.AdaLoraConfig):
        ranks, config.rank_pattern = config.rank_pattern, None
    model = peft.get_peft_model(base.model, config)
    if has_state:
        load_training_state(model, saved)
    else:
        peft.set_peft_model_state_dict(model, peft.load_peft_weights(str(saved), device=str(base.device)))
    if ranks is not None:
        model.active_peft_config.rank_pattern = ranks
    return model


def _detached(lent: Any, model: Any, attributes: Mapping[torch.nn.Module, set[str]], uses_cache: bool | None) -> Any:
    """The base model without its adapter (peft's `unload`, which prompt learning has no need of).

    Args:
        lent: the base model.
        model: what was made of it: the base with an adapter, or a copy.
        attributes: names of those that its modules had; what peft and transformers have added is removed.
        uses_cache: what its configuration said, which Trainer overwrites.
    """
    if not isinstance(model, peft.PeftModel):
        return lent
    inner = model.get_base_model() if model.active_peft_config.is_prompt_learning else model.unload()
    if any(getattr(module, "gradient_checkpointing", False) for module in inner.modules()):
        inner.gradient_checkpointing_disable()
        inner.disable_input_require_grads()
    if uses_cache is not None:
        inner.config.use_cache = uses_cache
    for module, names in attributes.items():
        for name in vars(module).keys() - names:
            if not callable(getattr(type(module), name, None)):  # a method put over the class's own is a change
                delattr(module, name)
    return inner.eval().requires_grad_(False)
