"""A fingerprint tells a model from one in which anything at all is different."""

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from raypeft.modeling.adapters import adapted
from raypeft.modeling.fingerprint import differences, fingerprint, in_words
from raypeft.modeling.loading import Base, load_base
from raypeft.spec.plan import Plan
from tests.modeling.conftest import Bases
from tests.modeling.test_adapters import batch, step

BIAS = "transformer.h.0.mlp.fc_in.bias"
WEIGHT = "transformer.h.1.mlp.fc_in.weight"
ATTENTION = "transformer.h.0.attn"


def hook(*_: Any) -> None:
    return None


@torch.no_grad()
def one_bit(model: Any) -> None:
    bias = model.get_parameter(BIAS)
    bias[7] = torch.nextafter(bias[7], torch.tensor(9.0))


@torch.no_grad()
def swapped(model: Any) -> None:
    weight = model.get_parameter(WEIGHT)
    weight[[3, 5]] = weight[[5, 3]]


@torch.no_grad()
def two_signs(model: Any) -> None:
    model.get_parameter(WEIGHT)[2, 4:6] *= -1


@torch.no_grad()
def moved_between(model: Any) -> None:
    """What one value loses another gains: a plain sum stays."""
    bits = model.get_parameter(WEIGHT).view(torch.int32)
    bits[0, 0] += 1
    bits[0, 1] -= 1


def untied(model: Any) -> None:
    model.get_submodule(ATTENTION).out_proj.weight = torch.nn.Parameter(
        model.get_submodule(ATTENTION).out_proj.weight.detach().clone(), requires_grad=True
    )


CHANGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "one bit of a bias": (one_bit, BIAS),
    "two rows swapped": (swapped, WEIGHT),
    "two signs": (two_signs, WEIGHT),
    "moved between values": (moved_between, WEIGHT),
    "trainable": (untied, f"{ATTENTION}.out_proj.weight"),
    "type": (lambda model: model.get_submodule(f"{ATTENTION}.out_proj").bfloat16(), f"{ATTENTION}.out_proj.weight"),
    "hook": (lambda model: model.transformer.h[1].register_forward_hook(hook), "_forward_hooks"),
    "layer": (lambda model: model.transformer.h.append(model.transformer.h[0]), "transformer.h.2"),
    "method": (lambda model: setattr(model.transformer, "forward", hook), "transformer.forward"),
    "attribute": (lambda model: setattr(model.transformer.ln_f, "eps", 1e-4), "transformer.ln_f.eps"),
    "configuration": (lambda model: setattr(model.config, "n_layer", 7), "config.n_layer"),
    "generation": (lambda model: setattr(model.generation_config, "num_beams", 7), "generation_config.num_beams"),
    "buffer": (lambda model: model.register_buffer("more", torch.zeros(1)), "more"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_base_that_was_changed_is_loaded_anew(
    bases: Bases, matrix: Plan, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    base, lora = bases("codegen", "lora"), matrix.resolved.techniques["lora"]
    act, named = CHANGES[change]
    model, logits = base.model, base.model(**batch(base)).logits.detach()
    caplog.set_level("INFO", logger="raypeft.trial")
    with adapted(base, lora, lora.paper, seed=1) as adapter:
        step(adapter, batch(base))
        act(model)
    assert base.loaded is None
    assert named in str(base.changed)
    assert f"LoRA left the base model changed ({base.changed}): it is loaded anew" in caplog.text
    assert base.model is not model and base.changed is None
    assert torch.equal(base.model(**batch(base)).logits, logits)


def test_the_memory_of_a_changed_base_is_freed_before_it_is_loaded_anew(bases: Bases, matrix: Plan) -> None:
    """Also when a fault ended the trial, whose traceback holds the model for a while."""
    shared, lora = bases("codegen", "lora"), matrix.resolved.techniques["lora"]
    base = load_base(shared.name, shared.entry, "fp32")
    lent, again, alive = weakref.ref(base.model), base.again, []
    assert again is not None

    def loading() -> Base:
        alive.append(lent())
        return again()

    base.again = loading
    with pytest.raises(RuntimeError, match="broken"), adapted(base, lora, lora.paper, seed=1) as adapter:
        step(adapter, batch(base))
        one_bit(base.model)
        raise RuntimeError("broken")
    del adapter
    assert base.changed is not None and alive == []
    assert base.model is not None and alive == [None]


def test_the_state_of_quantised_weights_counts(matrix: Plan) -> None:
    for quantization, state in (("4bit", "quant_state.absmax"), ("8bit", "SCB")):
        base = load_base("tiny-decoder", matrix.resolved.models["tiny-decoder"], "fp32", quantization=quantization)
        before = fingerprint(base.model)
        layer = base.model.model.layers[1].mlp.up_proj
        values = layer.weight.quant_state.absmax if quantization == "4bit" else layer.state.SCB
        values[0] += 1
        assert state in in_words(differences(before, fingerprint(base.model)))


@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.float16, torch.float32, torch.float64])
def test_any_value_of_any_type_counts(dtype: torch.dtype) -> None:
    """Also where the bytes are no whole number of integers, or of rows of them."""
    for size in (1, 3, 2**16 + 5):
        holder = torch.nn.Module()
        holder.register_buffer("values", torch.ones(size, dtype=dtype))
        before = fingerprint(holder)
        assert fingerprint(holder) == before
        for index in (0, size // 2, size - 1):
            holder.values[index] = 0
            assert differences(before, fingerprint(holder)) == ["_buffers.values"]
            holder.values[index] = 1
    assert fingerprint(holder) == before


def test_what_cannot_be_given_back_is_loaded_anew(bases: Bases) -> None:
    base: Base = bases("codegen", "lora")

    def broken() -> Any:
        raise AttributeError("no unload")

    base.take_back(broken)
    assert base.changed == "AttributeError: no unload"
    assert base.model is not None and base.changed is None
