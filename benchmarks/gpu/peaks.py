"""Peaks of whole trials on the card against the plan's estimates, and how fast they train."""

import shutil
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.made import base_of_cell, write_items
from benchmarks.gpu.rows import Row
from raypeft.estimate.footprint import footprint
from raypeft.estimate.memory import CUDA_CONTEXT, MIB
from raypeft.modeling.memory import give_back, limit_gpu_memory
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from raypeft.training.data import trial_data
from raypeft.training.trial import train


def plan_of(row: Row, folder: Path) -> Plan:
    """The study of one trial."""
    resolved = resolve(
        "quickstart",
        settings=[
            f"models=[{row.model}]",
            "datasets=[long]",
            f"catalogue.datasets.long={{title: L, folder: '{folder}', max_prompt_tokens: 64, max_code_tokens: 64}}",
            f"techniques=[{row.technique}]",
            "mode=paper",
            "data={seed: 42}",
            "icl=null",
            "training={epochs: 1, evaluate_every: 1, batch: 8}",
            "validation.em_items=8",
            *row.settings,
        ],
    )
    technique = resolved.techniques[row.technique]
    at = technique.model_copy(update={"paper": technique.paper | dict(row.point)})
    return Plan(resolved.model_copy(update={"techniques": {row.technique: at}}))


def measure(row: Row, work: Path) -> dict[str, Any]:
    """Train and decode; MiB, as a card would show them, CUDA's own memory among them."""
    started = time.monotonic()
    write_items(work / "data", row.items)
    plan = plan_of(row, work / "data")
    cell = plan.cells[0]
    shutil.rmtree(work / "trial", ignore_errors=True)
    limit = plan.resolved.study.resources.gpu_memory_gb
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(1.0)
    limit_gpu_memory(limit)
    technique, reports = plan.resolved.techniques[cell.technique], [{"end": "oom"}]
    try:
        base = base_of_cell(plan, cell)
        made = time.monotonic() - started
        data = trial_data(plan, base, "long")
        train(plan, base, data, technique, technique.paper, work / "trial", lambda said: reports.append(said.content()))
    except torch.OutOfMemoryError as error:
        made = time.monotonic() - started
        reports[-1] = {"end": "oom", "error": str(error).splitlines()[0]}
    finally:
        base = None
        give_back()
    last = reports[-1]
    found = footprint(plan, cell)
    assert found is not None
    context = CUDA_CONTEXT / MIB if torch.cuda.is_available() else 0.0
    tokens = row.items * (64 + 64)
    return {
        "name": row.name,
        "end": last.get("end"),
        "error": last.get("error") or last.get("fault"),
        "fits": found.fits,
        "micro_batch": last.get("micro_batch"),
        "decode_batch": last.get("decode_batch"),
        "checkpointing": last.get("gradient_checkpointing"),
        "estimated": {
            "training": sum(found.estimate.training.values()) / MIB,
            "decoding": sum(found.estimate.decoding.values()) / MIB,
        },
        "measured": {
            phase: last[f"{phase}_memory_mib"] + context if last.get(f"{phase}_memory_mib") else None
            for phase in ("training", "decoding")
        },
        "reserved": {phase: last.get(f"{phase}_reserved_mib") for phase in ("training", "decoding")},
        "training_tokens_per_second": tokens / last["training_seconds"] if last.get("training_seconds") else None,
        "evaluation_seconds": last.get("evaluation_seconds"),
        "making_seconds": made,
        "seconds": time.monotonic() - started,
    }
