"""Evaluation of weights made elsewhere by a study's protocol."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import peft
import torch

from raypeft.data.sources import Item
from raypeft.errors import UserError
from raypeft.evaluation.decoding_job import decode_items, tuned_prompts
from raypeft.hub.faults import explained
from raypeft.metrics import score
from raypeft.modeling.adapter_files import check_adapter, put_on
from raypeft.modeling.layout import NATIVE_CORES, PARTS, native_rows
from raypeft.modeling.loading import Base, load_base
from raypeft.modeling.memory import is_out_of_memory
from raypeft.runs.records import Prediction
from raypeft.spec.plan import Plan
from raypeft.spec.technique import Quantization

PROJECTION = "qkv_proj"


def load_given(plan: Plan, quantization: Quantization | None) -> Base:
    """The only model of a plan.

    Raises:
        UserError: it cannot be loaded.
    """
    ((name, entry),) = plan.resolved.models.items()
    training = plan.resolved.study.training
    return load_base(
        name,
        entry,
        training.precision,
        quantization=quantization,
        quantized_rest=training.quantized_rest,
        attention=training.attention,
    )


def evaluate_given(
    plan: Plan,
    base: Base,
    adapter: str | None,
    dataset: str,
    items: list[Item],
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, Any], list[Prediction]]:
    """Decode items with the base model, or an adapter on it, and score the candidates.

    Args:
        plan: of a study with this model and data set, whose prompt and beam search are used.
        base: the model.
        adapter: folder or hub id of a peft adapter.
        dataset: name of the data set.
        items: what to decode.
        progress: called with the number of items that have been decoded since.

    Returns:
        Metrics and their circumstances, and the predictions.

    Raises:
        UserError: the adapter cannot be read, or does not fit the model.
    """
    started = time.monotonic()
    prompts, shortened = tuned_prompts(plan, base, dataset, items)
    with with_adapter(base, adapter) as model:
        rows, decode_batch = decode_items(plan, base, model, dataset, items, prompts, progress=progress)
    study, entry = plan.resolved.study, plan.resolved.datasets[dataset]
    result = {
        "model": base.source,
        "adapter": adapter,
        "dataset": dataset,
        "metrics": score([row.reference for row in rows], [row.candidates for row in rows]),
        "seconds": time.monotonic() - started,
        "shortened_prompts": shortened,
        "precision": str(base.dtype).removeprefix("torch."),
        "decode_batch": decode_batch,
        "beams": study.test.beams,
        "candidates": study.test.candidates,
        "max_new_tokens": entry.max_code_tokens,
        "stop_strings": entry.stop_strings,
    }
    return result, rows


@contextmanager
def with_adapter(base: Base, adapter: str | None) -> Iterator[Any]:
    """The base model, or an adapter made elsewhere on it.

    Raises:
        UserError: the adapter cannot be read, is damaged or incomplete, or was made for another model.
    """
    if adapter is None:
        yield base.model
        return
    where = f"--adapter {adapter}"
    try:
        with nullcontext() if Path(adapter).exists() else explained("model", adapter):
            check_adapter(base, adapter, where)
            model = put_on(base, adapter, where)
    except UserError:
        raise
    except Exception as error:  # an adapter's files are made elsewhere: peft may raise anything
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"cannot be put on {base.source}: {error}",
            where=where,
            hint="Its adapter_config.json names the base model it was made for.",
        ) from error
    _to_native_rows(model, base)
    yield model


@torch.no_grad()
def _to_native_rows(model: peft.PeftModel, base: Base) -> None:
    """Reorder an adapter's rows as the base model's own were when it was loaded."""
    cores = base.entry.qkv_layout
    if cores in (None, NATIVE_CORES):
        return
    width = base.model.config.n_embd
    rows = native_rows(width, cores).to(base.device)
    for name, weight in model.named_parameters():
        if PROJECTION in name and "base_layer" not in name and weight.shape[0] == PARTS * width:
            weight.copy_(weight[rows])
