"""A base model is lent to an adapter and comes back bit by bit as it was."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from raypeft.modeling.adapters import adapted
from raypeft.modeling.loading import Base, load_base
from raypeft.spec.plan import Plan
from tests.conftest import MODELS, TECHNIQUES


@pytest.fixture(scope="module", params=MODELS)
def base(request: pytest.FixtureRequest, small_plan: Plan) -> Iterator[Base]:
    yield load_base(request.param, small_plan.resolved.models[request.param], "auto")


def digest(model: Any) -> dict[str, str]:
    return {
        name: hashlib.sha256(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
        for name, tensor in sorted(model.state_dict().items())
    }


def batch(base: Base) -> dict[str, torch.Tensor]:
    tokens = base.tokenizer("sort the list `values`\nvalues.sort()", return_tensors="pt")["input_ids"]
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": tokens}


def step(model: Any, inputs: dict[str, torch.Tensor]) -> float:
    """One gradient step large enough to change every trainable weight."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    model.train()
    loss = model(**inputs).loss
    loss.backward()
    optimizer.step()
    model.eval()
    return float(loss.detach())


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_base_is_bit_identical_afterwards(base: Base, small_plan: Plan, technique: str) -> None:
    spec = small_plan.resolved.techniques[technique]
    inputs = batch(base)
    before, modules = digest(base.model), [name for name, _ in base.model.named_modules()]
    logits = base.model(**inputs).logits.detach()
    with adapted(base, spec, spec.paper, seed=42) as model:
        step(model, inputs)
        changed = model(**inputs).logits.detach()
        assert not torch.equal(logits, changed), "the step must change the model for this test to mean anything"
    assert digest(base.model) == before
    assert [name for name, _ in base.model.named_modules()] == modules
    assert torch.equal(base.model(**inputs).logits, logits)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_saved_weights_give_the_same_logits(base: Base, small_plan: Plan, technique: str, tmp_path: Path) -> None:
    spec = small_plan.resolved.techniques[technique]
    inputs = batch(base)
    with adapted(base, spec, spec.paper, seed=42) as model:
        step(model, inputs)
        model.save_pretrained(tmp_path)
        logits = model(**inputs).logits.detach()
    with adapted(base, spec, spec.paper, seed=7, saved=tmp_path) as model:
        assert torch.equal(model.eval()(**inputs).logits, logits)
        assert any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_trainable_weights_are_fp32_on_a_half_precision_base(small_plan: Plan, technique: str) -> None:
    half = load_base("tiny-decoder", small_plan.resolved.models["tiny-decoder"], "bf16")
    assert half.model.dtype == torch.bfloat16
    spec = small_plan.resolved.techniques[technique]
    with adapted(half, spec, spec.paper, seed=42) as model:
        trainable = {parameter.dtype for parameter in model.parameters() if parameter.requires_grad}
        assert trainable == {torch.float32}


def test_a_fault_inside_drops_the_warm_base(small_plan: Plan) -> None:
    from raypeft.modeling.loading import warm_base

    entry = small_plan.resolved.models["tiny-decoder"]
    first = warm_base("tiny-decoder", entry, "auto")
    assert warm_base("tiny-decoder", entry, "auto") is first
    lora = small_plan.resolved.techniques["lora"]
    with pytest.raises(RuntimeError, match="broken"), adapted(first, lora, lora.paper, seed=42):
        raise RuntimeError("broken")
    assert warm_base("tiny-decoder", entry, "auto") is not first
