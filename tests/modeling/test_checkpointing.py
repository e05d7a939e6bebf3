"""Gradient checkpointing changes memory, not results, and leaves nothing behind."""

from pathlib import Path
from typing import Any

import pytest

from raypeft.modeling.loading import Base
from raypeft.runs.records import Message
from raypeft.spec.plan import Plan
from raypeft.training.data import trial_data
from raypeft.training.trial import train
from tests.modeling.conftest import Bases

# Inside a block, where what is computed again is seen.
NORMS = {
    "tiny-decoder": "model.layers.0.input_layernorm",
    "tiny-encoder-decoder": "decoder.block.0.layer.0.layer_norm",
    "codegen": "transformer.h.0.ln_1",
}


def run(plan: Plan, base: Base, technique: str, folder: Path) -> tuple[list[float], int]:
    """Losses of a trial, and how often the first block ran in training."""
    calls = []
    norm = base.model.get_submodule(NORMS[base.name])
    reports: list[dict[str, Any]] = []
    hooks: list[Any] = []

    def emit(said: Message) -> None:
        """Watch from the first report to the last: what is left afterwards is not of the test's making."""
        report = said.content()
        if not reports:
            hooks.append(norm.register_forward_pre_hook(lambda module, inputs: calls.append(module.training)))
        if report.get("end"):
            hooks.pop().remove()
        reports.append(report)

    spec = plan.resolved.techniques[technique]
    train(plan, base, trial_data(plan, base, "snippets"), spec, spec.paper, folder, emit)
    return [report["validation_loss"] for report in reports], sum(calls)


@pytest.mark.parametrize(
    ("model", "technique", "again"),
    [
        ("tiny-decoder", "lora", True),
        ("tiny-decoder", "qlora_4bit", True),
        ("tiny-encoder-decoder", "ia3", True),
        ("codegen", "lora", True),
        ("tiny-decoder", "prefix_tuning", False),
    ],
)
def test_losses_are_the_same_and_blocks_run_twice(
    bases: Bases, matrix: Plan, model: str, technique: str, again: bool, tmp_path: Path
) -> None:
    """Prefix tuning goes without: its keys and values would be dropped."""
    training = matrix.resolved.study.training.model_copy(update={"gradient_checkpointing": True})
    study = matrix.resolved.study.model_copy(update={"training": training})
    checkpointing = Plan(matrix.resolved.model_copy(update={"study": study}))
    base = bases(model, technique)
    lent = base.model
    losses, calls = run(matrix, base, technique, tmp_path / "plain")
    same, twice = run(checkpointing, base, technique, tmp_path / "checkpointing")
    assert same == pytest.approx(losses, rel=1e-4)
    assert twice == calls * (2 if again else 1)
    assert base.loaded is lent
