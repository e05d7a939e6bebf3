"""A base model is lent to an adapter and comes back bit by bit as it was."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from raypeft.errors import UserError
from raypeft.modeling.adapters import adapted, adapter_config, parameter_counts
from raypeft.modeling.fingerprint import save_training_state
from raypeft.modeling.loading import Base, load_base, warm_base
from raypeft.spec.plan import Plan
from raypeft.spec.technique import Technique
from tests.conftest import MODELS
from tests.modeling.conftest import EVERY_TECHNIQUE, Bases

STEPS = 20


def digest(model: Any) -> dict[str, str]:
    return {
        name: hashlib.sha256(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
        for name, tensor in sorted(model.state_dict().items())
    }


def batch(base: Base) -> dict[str, torch.Tensor]:
    tokens = base.tokenizer("sort the list `values`\nvalues.sort()", return_tensors="pt")["input_ids"].to(base.device)
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


@pytest.mark.parametrize("technique", EVERY_TECHNIQUE)
@pytest.mark.parametrize("model", MODELS)
def test_base_is_bit_identical_afterwards(bases: Bases, matrix: Plan, model: str, technique: str) -> None:
    base, spec = bases(model, technique), matrix.resolved.techniques[technique]
    inputs = batch(base)
    before, modules = digest(base.model), [name for name, _ in base.model.named_modules()]
    logits = base.model(**inputs).logits.detach()
    with adapted(base, spec, spec.paper, seed=42, steps=STEPS) as adapter:
        step(adapter, inputs)
        changed = adapter(**inputs).logits.detach()
        assert not torch.equal(logits, changed), "the step must change the model for this test to mean anything"
    assert digest(base.model) == before
    assert [name for name, _ in base.model.named_modules()] == modules
    assert torch.equal(base.model(**inputs).logits, logits)
    assert not any(weight.requires_grad for weight in base.model.parameters())


@pytest.mark.parametrize("technique", EVERY_TECHNIQUE)
@pytest.mark.parametrize("model", MODELS)
def test_saved_weights_give_the_same_logits(
    bases: Bases, matrix: Plan, model: str, technique: str, tmp_path: Path
) -> None:
    base, spec = bases(model, technique), matrix.resolved.techniques[technique]
    inputs = batch(base)
    with adapted(base, spec, spec.paper, seed=42, steps=STEPS) as adapter:
        step(adapter, inputs)
        adapter.save_pretrained(tmp_path)
        save_training_state(adapter, tmp_path)
        logits, counts = adapter(**inputs).logits.detach(), parameter_counts(adapter)
    with adapted(base, spec, spec.paper, seed=7, saved=tmp_path) as adapter:
        assert torch.equal(adapter.eval()(**inputs).logits, logits)
        assert parameter_counts(adapter) == counts
        assert counts[0] > 0


@pytest.mark.parametrize("technique", [name for name in EVERY_TECHNIQUE if not name.startswith("qlora")])
def test_trainable_weights_are_fp32_on_a_half_precision_base(matrix: Plan, technique: str) -> None:
    half = load_base("tiny-decoder", matrix.resolved.models["tiny-decoder"], "bf16")
    assert half.model.dtype == half.dtype == torch.bfloat16
    spec = matrix.resolved.techniques[technique]
    with adapted(half, spec, spec.paper, seed=42, steps=STEPS) as model:
        trainable = {parameter.dtype for parameter in model.parameters() if parameter.requires_grad}
        assert trainable == {torch.float32}


def test_a_base_that_is_as_it_was_is_kept_after_a_fault(small_plan: Plan) -> None:
    entry = small_plan.resolved.models["tiny-decoder"]
    first = warm_base("tiny-decoder", entry, "auto")
    model = first.model
    lora = small_plan.resolved.techniques["lora"]
    with pytest.raises(RuntimeError, match="broken"), adapted(first, lora, lora.paper, seed=42) as adapter:
        step(adapter, batch(first))
        raise RuntimeError("broken")
    assert warm_base("tiny-decoder", entry, "auto") is first and first.model is model


def test_a_quantised_base_is_another_warm_base(small_plan: Plan) -> None:
    entry = small_plan.resolved.models["tiny-decoder"]
    plain = warm_base("tiny-decoder", entry, "fp32")
    quantised = warm_base("tiny-decoder", entry, "fp32", quantization="4bit")
    assert quantised is not plain
    assert warm_base("tiny-decoder", entry, "fp32", quantization="4bit") is quantised
    assert warm_base("tiny-decoder", entry, "fp32") is not plain, "one base is kept, not two"


def test_the_targets_of_a_point_are_the_models_modules(bases: Bases, matrix: Plan) -> None:
    dora = matrix.resolved.techniques["dora"]
    base = bases("tiny-decoder", "dora")
    attention = adapter_config(base, dora, {**dora.paper, "target_modules": "attention"})
    assert attention.target_modules == {"q_proj", "k_proj", "v_proj"}
    assert adapter_config(base, dora, dora.paper).target_modules == "all-linear"
    with adapted(base, dora, dora.paper, seed=1) as model:
        adapted_modules = {name.rsplit(".", 2)[-2] for name, _ in model.named_modules() if name.endswith(".lora_A")}
    assert adapted_modules == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_shares_of_the_training_are_steps(bases: Bases, matrix: Plan) -> None:
    spec = matrix.resolved.techniques["adalora"]
    base = bases("tiny-decoder", "adalora")
    config = adapter_config(base, spec, spec.paper, steps=3000)
    assert (config.total_step, config.tinit, config.deltaT, config.tfinal) == (3000, 501, 10, 1500)
    config = adapter_config(base, spec, spec.paper, steps=10)
    assert (config.total_step, config.tinit, config.deltaT, config.tfinal) == (10, 2, 1, 5)


def test_an_adapter_that_begins_with_what_memory_happened_to_hold_is_refused(bases: Bases) -> None:
    """peft's TinyLoRA makes its vectors with `torch.empty`, and leaves them so where it is told not to initialise."""
    content = {
        "title": "T",
        "peft": "TinyLoraConfig",
        "arguments": {"target_modules": ["q_proj"], "init_weights": False},
        "paper": {"learning_rate": 1e-3},
        "search": {"learning_rate": {"choice": [1e-3]}},
    }
    base, tiny = bases("tiny-decoder", "lora"), Technique.model_validate(content)
    lent = base.model
    with (
        pytest.raises(UserError, match=r"peft\.TinyLoraConfig leaves \S+ without initial values"),
        adapted(base, tiny, tiny.paper, seed=42),
    ):
        pass
    assert base.model is lent, "it is given back all the same"
    assert not torch.are_deterministic_algorithms_enabled()
