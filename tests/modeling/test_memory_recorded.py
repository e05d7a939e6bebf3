"""Estimates for a GPU against peaks that `benchmarks/memory.py` measured on one NVIDIA H200 (torch 2.11, CUDA 13)."""

from pathlib import Path

import pytest
import transformers

from benchmarks.memory_grids import MODELS, TARGETS
from raypeft.estimate.footprint import Footprint, footprint
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve

# MiB in training and, where measured, in decoding: 64 + 64 tokens, micro-batch 8, 8 x 10 beams (docs/studies.md).
FP32_REST = ("training.quantized_rest=fp32",)
MEASURED = [
    ("code-llama-7b", "lora", (), 18_782, 18_643),
    ("code-llama-7b", "lora", ("training.gradient_checkpointing=true",), 14_113, 18_643),
    ("code-llama-7b", "qlora_8bit", FP32_REST, 18_838, 18_084),
    ("code-llama-7b", "qlora_4bit", FP32_REST, 12_392, 15_091),
    ("code-llama-7b", "ia3", (), 19_891, 18_614),
    ("code-llama-7b", "prefix_tuning", (), 18_075, 19_398),
    ("codegen-130m", "full", (), 2_772, None),
    ("t5-150m", "full", (), 2_227, None),
]


def at(limit_mib: float, folder: Path, model: str, technique: str, settings: tuple[str, ...]) -> Footprint:
    """What the plan says of a trial under a limit."""
    kind, arguments = MODELS[model]
    getattr(transformers, kind)(**arguments).save_pretrained(folder / model)
    lengths = "max_prompt_tokens: 64, max_code_tokens: 64"
    plan = Plan(
        resolve(
            "quickstart",
            settings=[
                "models=[made]",
                f"catalogue.models.made={{title: Made, folder: '{folder / model}', targets: {TARGETS[kind]}}}",
                "datasets=[long]",
                f"catalogue.datasets.long={{title: Long, folder: {folder}, {lengths}}}",
                f"techniques=[{technique}]",
                "mode=paper",
                "training.batch=8",
                "test.decode_batch=8",
                f"resources.gpu_memory_gb={limit_mib / 1024}",
                *settings,
            ],
        )
    )
    found = footprint(plan, plan.cells[0])
    assert found is not None
    return found


@pytest.mark.parametrize(("model", "technique", "settings", "training", "decoding"), MEASURED)
def test_a_peak_is_estimated_within_15_percent_and_not_said_to_fit_into_less(
    tmp_path: Path, model: str, technique: str, settings: tuple[str, ...], training: int, decoding: int | None
) -> None:
    peak = max(training, decoding or 0)
    found = at(peak, tmp_path, model, technique, settings)
    assert sum(found.estimate.training.values()) / 2**20 == pytest.approx(training, rel=0.15)
    if decoding is not None:
        assert sum(found.estimate.decoding.values()) / 2**20 == pytest.approx(decoding, rel=0.15)
    assert found.fits != "yes"
    assert at(1.4 * peak, tmp_path, model, technique, settings).fits == "yes"


def test_what_leaves_less_than_a_tenth_free_is_not_said_to_fit(tmp_path: Path) -> None:
    """One item of QLoRA in 4 bits with the rest in fp32 takes 5.96 GiB."""
    assert at(6.5 * 1024, tmp_path, "code-llama-7b", "qlora_4bit", FP32_REST).fits == "no"
    assert at(6.7 * 1024, tmp_path, "code-llama-7b", "qlora_4bit", FP32_REST).fits == "micro-batch 1, decode batch 1"


# MiB that `python -m benchmarks.gpu` measured on one NVIDIA H100 (torch 2.11, CUDA 13): micro-batch, decoding batch.
CATALOGUE = [
    ("codellama-7b-python", "lora", 8, 8, 19_187, 18_659),
    ("codellama-7b-python", "qlora_4bit", 8, 8, 10_007, 9_553),
    ("codellama-7b-python", "qlora_8bit", 8, 8, 14_265, 12_491),
    ("codellama-34b-python", "qlora_4bit", 1, 1, 20_410, 18_418),
]


@pytest.mark.parametrize(("model", "technique", "micro", "decode", "training", "decoding"), CATALOGUE)
def test_models_of_the_paper_take_what_is_estimated(
    tmp_path: Path, model: str, technique: str, micro: int, decode: int, training: int, decoding: int
) -> None:
    plan = Plan(
        resolve(
            "quickstart",
            settings=[
                f"models=[{model}]",
                "datasets=[conala]",
                f"techniques=[{technique}]",
                "mode=paper",
                f"training={{batch: 8, micro_batch: {micro}}}",
                f"test.decode_batch={decode}",
                "resources.gpu_memory_gb=24",
            ],
        )
    )
    found = footprint(plan, plan.cells[0])
    assert found is not None
    assert sum(found.estimate.training.values()) / 2**20 == pytest.approx(training, rel=0.02)
    assert sum(found.estimate.decoding.values()) / 2**20 == pytest.approx(decoding, rel=0.02)
