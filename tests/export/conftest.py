"""A run whose cells have selected weights that matter, without the training."""

import zlib
from pathlib import Path

import pytest
import torch

from raypeft.modeling.adapter_files import convert
from raypeft.modeling.adapters import adapted
from raypeft.modeling.fingerprint import save_training_state
from raypeft.modeling.loading import study_base
from raypeft.output.files import write_json, write_text
from raypeft.runs.folder import Run
from raypeft.spec.loading import names
from raypeft.spec.plan import Cell
from raypeft.spec.resolve import resolve
from tests.modeling.conftest import codegen_folder

__all__ = ["codegen_folder"]

QUANTISED = ("qlora_4bit", "qlora_8bit")
TECHNIQUES = tuple(technique for technique in names("search_spaces") if technique not in QUANTISED)
VIRTUAL = "prompt_tuning, prefix_tuning, p_tuning"
REORDERED = "full, lora, ia3, adalora, vera, prefix_tuning"


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, codegen_folder: Path) -> Run:
    """Every technique on a decoder, some on an encoder-decoder and on a CodeGen model laid out for eight cores."""
    codegen = f"title: C, folder: {codegen_folder}, targets: {{attention: [qkv_proj], feedforward: [fc_in, fc_out]}}"
    snippets = "title: Snippets, folder: 'embedded:snippets', max_code_tokens: 8, stop_strings: [\"\\n\"]"
    resolved = resolve(
        "quickstart",
        settings=[
            "models={a: [tiny-decoder], b: [tiny-encoder-decoder], c: [codegen2]}",
            f"techniques={{a: [{', '.join(TECHNIQUES)}], b: [full, lora, {VIRTUAL}], c: [{REORDERED}]}}",
            "datasets=[snippets]",
            f"catalogue.models.codegen2={{{codegen}, qkv_layout: 8}}",
            f"catalogue.datasets.snippets={{{snippets}}}",
            "test={beams: 3, candidates: 3}",
            "icl=null",
        ],
    )
    run = Run(tmp_path_factory.mktemp("export") / "run")
    write_text(run.study_file, resolved.dump())
    for cell in run.plan.cells:
        select(run, cell)
    return run


def select(run: Run, cell: Cell) -> None:
    """Selected weights: a new adapter, moved at random far enough to change what is generated."""
    technique = run.plan.resolved.techniques[cell.technique]
    random = torch.Generator().manual_seed(zlib.crc32(cell.id.encode()))
    with adapted(study_base(run.plan.resolved, cell), technique, technique.paper, seed=42, steps=10) as model:
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data += 0.05 * torch.randn(weight.shape, generator=random)
        model.save_pretrained(run.cell_folder(cell) / "best")
        save_training_state(model, run.cell_folder(cell) / "best")
        convert(model, run.cell_folder(cell) / "best")
    write_json(
        run.cell_folder(cell) / "selection.json",
        {
            "cell": cell.id,
            "trial": cell.trial_name(0),
            "number": 0,
            "hyperparameters": technique.paper,
            "paper_point": True,
            "checkpoint_report": 4,
            "validation_loss": 1.25,
            "em@10": 10.0,
            "training_seconds": 9.0,
            "peak_memory_mib": 512.0,
            "trainable_parameters": 12288,
            "parameters": 1012288,
            "select_by": "loss",
            "considered": 2,
            "trials": {"finished": 2},
        },
    )
