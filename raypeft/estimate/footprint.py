"""Whether the cells of a plan fit the memory there is."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from raypeft.errors import UserError
from raypeft.estimate.activations import Adapter
from raypeft.estimate.memory import GIB, Configuration, Device, Estimate, Workload, estimate
from raypeft.spec.catalogue import ModelEntry
from raypeft.spec.plan import Cell, Plan
from raypeft.spec.sections import Resources, smaller_micro
from raypeft.spec.shape import Shape, shape_of_folder
from raypeft.spec.technique import Dimension, Technique

WITHOUT_MODULES = (None, "PromptTuningConfig", "PromptEncoderConfig", "PrefixTuningConfig")
# What estimates miss is left free. On a GPU they are within 5 % of what was measured, and the gaps between the blocks
# of torch's allocator take up to 5 % more; what a CPU's heap takes is known less well (docs/studies.md).
USABLE: Mapping[Device, float] = {"gpu": 0.9, "cpu": 0.85}


@dataclass(frozen=True)
class Footprint:
    """Memory of a cell's largest trial.

    Attributes:
        estimate: with the batches that the study asks for.
        rough: whether only the number of weights is known of the model, not its shape.
        fits: `yes`, what a trial comes down to (smaller batches, then gradient checkpointing), or `no` where that is
            still too much; none without a limit.
    """

    estimate: Estimate
    rough: bool
    fits: str | None


def device_of(resources: Resources) -> Device:
    """Where trials run, found without torch: on a GPU where the study limits its memory or NVIDIA's tool is here."""
    if not resources.gpus_per_trial:
        return "cpu"
    return "gpu" if resources.gpu_memory_gb is not None or shutil.which("nvidia-smi") else "cpu"


def footprint(plan: Plan, cell: Cell) -> Footprint | None:
    """Memory of the largest trial of a cell: the point of its search space that takes most, all items the longest.

    Returns:
        None where neither the shape of the model nor the number of its weights is known.
    """
    study = plan.resolved.study
    limit = study.resources.gpu_memory_gb
    device = device_of(study.resources)
    entry = plan.resolved.models[cell.model]
    shape = shape_of(entry)
    rough = shape is None
    if shape is None:
        if entry.parameters is None:
            return None
        shape = typical_shape(entry.parameters)
    parameters = entry.parameters or shape.weights
    work = _workload(plan, cell)
    technique = plan.resolved.techniques[cell.technique]
    candidates = [
        Configuration(shape, parameters, adapter, technique.quantization, study.training, device)
        for adapter in _adapters(plan, cell, technique, shape, entry.targets)
    ]
    largest = max(candidates, key=lambda candidate: estimate(candidate, work).peak)
    fits = None if limit is None else _fit(largest, work, limit * GIB * USABLE[device])
    return Footprint(estimate(largest, work), rough, fits)


def shape_of(entry: ModelEntry) -> Shape | None:
    """The shape that the catalogue gives, or that of the model's folder."""
    if entry.shape is not None or entry.folder is None:
        return entry.shape
    try:
        folder = entry.path("folder")
    except UserError:
        return None
    return shape_of_folder(folder) if folder else None


def _workload(plan: Plan, cell: Cell) -> Workload:
    study, datasets = plan.resolved.study, plan.resolved.datasets
    entries = [datasets[name] for name in {cell.dataset, *plan.tests(cell)}]
    return Workload(
        micro=study.training.micro_batch or study.training.batch,
        batch=study.training.batch,
        decode=study.test.decode_batch,
        beams=study.test.beams,
        prompt=max(entry.max_prompt_tokens for entry in entries),
        code=max(entry.max_code_tokens for entry in entries),
    )


def _fit(configuration: Configuration, work: Workload, limit: float) -> str:
    """Come down as a trial does when memory runs out: half the micro-batch, at one item gradient checkpointing."""
    smaller, asked = work, configuration.training.gradient_checkpointing
    while sum(estimate(configuration, smaller).training.values()) > limit:
        if smaller.micro > 1:
            smaller = replace(smaller, micro=smaller_micro(smaller.batch, smaller.micro))
        elif configuration.training.gradient_checkpointing or configuration.adapter.kind == "PrefixTuningConfig":
            return "no"
        else:
            training = configuration.training.model_copy(update={"gradient_checkpointing": True})
            configuration = replace(configuration, training=training)
    while sum(estimate(configuration, smaller).decoding.values()) > limit:
        if smaller.decode == 1:
            return "no"
        smaller = replace(smaller, decode=smaller.decode // 2)
    changed = [f"micro-batch {smaller.micro}"] if smaller.micro < work.micro else []
    changed += ["checkpointing"] if configuration.training.gradient_checkpointing and not asked else []
    changed += [f"decode batch {smaller.decode}"] if smaller.decode < work.decode else []
    return ", ".join(changed) or "yes"


def _adapters(
    plan: Plan, cell: Cell, technique: Technique, shape: Shape, targets: Mapping[Any, list[str]]
) -> Iterator[Adapter]:
    """The adapters that may take most: the largest numbers of the search space with each choice of modules."""
    study = plan.resolved.study
    if study.mode == "paper":
        point: dict[str, Any] = dict(technique.point(study.protocol.point_of(cell.technique)))
        modules = [point.get("target_modules")]
    else:
        point = {name: _largest(dimension) for name, dimension in technique.search.items()}
        searched = technique.search.get("target_modules")
        modules = list(searched.choice or ()) if searched else [None]
    for choice in modules:
        arguments = technique.arguments | point | ({} if choice is None else {"target_modules": choice})
        yield adapter_of(shape, technique.peft, arguments, targets)


def _largest(dimension: Dimension) -> Any:
    if dimension.choice is None:
        return dimension.bounds[1]
    numbers = [value for value in dimension.choice if isinstance(value, int | float)]
    return max(numbers) if numbers else dimension.choice[0]


def typical_shape(parameters: int) -> Shape:
    """A shape that models with so many weights have, Llama's and 128 times as wide as deep."""
    layers = max(2, round((parameters / (12 * 128**2)) ** (1 / 3)))
    hidden = 128 * layers
    return Shape(
        block="llama", layers=layers, hidden=hidden, intermediate=8 * hidden // 3, heads=layers, vocabulary=50_000
    )


def adapter_of(
    shape: Shape, kind: str | None, arguments: Mapping[str, Any], targets: Mapping[str, list[str]]
) -> Adapter:
    """What a technique adapts at a hyperparameter point.

    Args:
        shape: sizes of the model.
        kind: class in peft.
        arguments: of that class, fixed and searched.
        targets: the model's module lists.
    """
    feedforward = _named(shape, arguments.get("feedforward_modules", []), targets)
    modules = _named(shape, arguments.get("target_modules", ["attention"]), targets)
    return Adapter(
        kind,
        [matrix for matrix in shape.matrices if matrix.name in modules] if kind not in WITHOUT_MODULES else [],
        tuple(feedforward),
        rank=int(arguments.get("r", arguments.get("init_r", 16))),
        magnitudes=bool(arguments.get("use_dora")),
        dropout=any(arguments.get(name, 0) for name in ("lora_dropout", "vera_dropout")),
        virtual=int(arguments.get("num_virtual_tokens", 0)),
        width=int(arguments.get("encoder_hidden_size") or shape.hidden) if kind == "PromptEncoderConfig" else 0,
    )


def _named(shape: Shape, named: Any, targets: Mapping[str, list[str]]) -> set[str]:
    """Names of linear layers for lists, layers and `all-linear`; a list that is not known is taken as all that fit."""
    names = {matrix.name for matrix in shape.matrices}
    attention = {name for name in names if name in ("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "q", "k", "v")}
    known: dict[str, set[str]] = {"all-linear": names, "attention": attention, "feedforward": names - attention}
    known |= {name: set(modules) for name, modules in targets.items()}
    listed = [named] if isinstance(named, str) else list(named)
    return {module for name in listed for module in known.get(name, {name})}
