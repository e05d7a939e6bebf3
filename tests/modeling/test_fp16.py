"""fp16 with fp32 trained weights, as on GPUs without bf16, here computed on the CPU."""

import math

import pytest
import torch

from raypeft.modeling.adapters import adapted
from raypeft.modeling.loading import load_base
from raypeft.modeling.precision import Hardware
from raypeft.spec.plan import Plan
from raypeft.training.data import trial_data
from raypeft.training.validation import em_at_10, validation_loss
from tests.modeling.conftest import EVERY_TECHNIQUE


class OldGpu(Hardware):
    """Has no bf16; stands for the CPU."""

    @property
    def device(self) -> str:
        return "cpu"


@pytest.mark.parametrize("technique", EVERY_TECHNIQUE)
@pytest.mark.parametrize("model", ["tiny-decoder", "codegen"])
def test_every_technique_computes_in_fp16(
    matrix: Plan, model: str, technique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss, candidates and gradients of a scaled loss come without a clash of types, near those of fp32."""
    spec, entry = matrix.resolved.techniques[technique], matrix.resolved.models[model]
    exact = load_base(model, entry, "fp32", quantization=spec.quantization)
    monkeypatch.setattr(Hardware, "here", classmethod(lambda cls: OldGpu(True, False)))
    base = load_base(model, entry, "auto", quantization=spec.quantization)
    assert base.dtype == torch.float16
    items = trial_data(matrix, base, "snippets")
    losses = []
    for one in (exact, base):
        with adapted(one, spec, spec.paper, seed=1, steps=10) as adapted_model:
            losses.append(validation_loss(adapted_model, items.collator, items.validation, bf16=False))
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    with adapted(base, spec, spec.paper, seed=1, steps=10) as adapted_model:
        em_at_10(adapted_model, base.tokenizer, items.em_prompts, items.em_references, items.beams, 1)
        trained = [weight for weight in adapted_model.parameters() if weight.requires_grad]
        assert {weight.dtype for weight in trained} == {torch.float32}
        batch = items.collator([items.collator.features(item) for item in items.train[:4]])
        adapted_model.train()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = adapted_model(**batch).loss
        (64 * loss).backward()
        gradients = [weight.grad for weight in trained if weight.grad is not None]
        assert math.isfinite(float(loss.detach())) and gradients and all(map(torch.isfinite, map(torch.sum, gradients)))
