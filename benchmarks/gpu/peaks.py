"""Peaks of whole trials on the card against the plan's estimates, and how fast they train."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.made import base_of_cell, write_items
from raypeft.modeling.gpu import limit_gpu_memory
from raypeft.modeling.memory import give_back
from raypeft.spec.footprint import footprint
from raypeft.spec.memory import CUDA_CONTEXT, MIB
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from raypeft.training.data import trial_data
from raypeft.training.trial import train

ONE = ("training.micro_batch=1", "test.decode_batch=1")
EIGHT = ("training.micro_batch=8", "test.decode_batch=8")


@dataclass(frozen=True)
class Row:
    """One trial: a model of the catalogue, a technique, settings of the study, training items."""

    model: str
    technique: str
    settings: tuple[str, ...]
    items: int = 16

    @property
    def name(self) -> str:
        """Words for the table, and the key under which the result is kept."""
        return " ".join((self.model, self.technique, *(word.rpartition(".")[2] for word in self.settings)))


ROWS = [
    Row("codellama-34b-python", "qlora_4bit", (*ONE, "resources.gpu_memory_gb=24")),
    Row("codellama-7b-python", "lora", EIGHT, items=96),
    Row("codellama-7b-python", "qlora_4bit", EIGHT, items=48),
    Row("codellama-7b-python", "qlora_8bit", EIGHT, items=24),
    Row("codellama-34b-python", "qlora_4bit", ("test.decode_batch=16", "resources.gpu_memory_gb=24")),
    Row("codellama-7b-python", "lora", ONE),
    Row("codellama-7b-python", "qlora_4bit", ONE),
    Row("codellama-7b-python", "qlora_8bit", ONE),
    Row("codellama-13b-python", "qlora_4bit", EIGHT),
    Row("codellama-7b-python", "qlora_4bit", (*EIGHT, "training.quantized_rest=fp32")),
    Row("codellama-7b-python", "lora", (*EIGHT, "training.gradient_checkpointing=true")),
]
DRY = [
    Row("tiny-decoder", technique, settings)
    for technique, settings in (
        ("lora", EIGHT),
        ("qlora_4bit", (*ONE, "training.precision=bf16")),
        ("qlora_8bit", (*ONE, "training.quantized_rest=fp32")),
    )
]


def plan_of(row: Row, folder: Path) -> Plan:
    """The study of one trial."""
    return Plan(
        resolve(
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
    )


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
        train(plan, base, data, technique, technique.paper, work / "trial", reports.append)
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
        "error": last.get("error"),
        "fits": found.fits,
        "micro_batch": last.get("micro_batch"),
        "decode_batch": last.get("decode_batch"),
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
