"""Precision of what a quantised model does not quantise, and of what passes through it."""

from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import pytest
import torch

from raypeft.modeling.adapters import adapted
from raypeft.modeling.loading import Base, load_base
from raypeft.spec.plan import Plan
from raypeft.spec.sections import QuantizedRest
from raypeft.training.data import trial_data
from raypeft.training.trial import train
from tests.said import Said

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="test_on_gpu.py trains there")
HALF, WHOLE = torch.bfloat16, torch.float32


def quantised(matrix: Plan, model: str, technique: str, rest: QuantizedRest) -> Base:
    quantization = matrix.resolved.techniques[technique].quantization
    entry = matrix.resolved.models[model]
    return load_base(model, entry, "bf16", quantization=quantization, quantized_rest=rest)


def contents(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items() if torch.is_tensor(value)}


@pytest.mark.parametrize(("rest", "dtype"), [("half", HALF), ("fp32", WHOLE)])
@pytest.mark.parametrize("technique", ["qlora_4bit", "qlora_8bit"])
@pytest.mark.parametrize("model", ["tiny-decoder", "codegen", "tiny-encoder-decoder"])
def test_what_passes_through_has_the_precision_of_the_rest(
    matrix: Plan, model: str, technique: str, rest: QuantizedRest, dtype: torch.dtype
) -> None:
    base, spec = quantised(matrix, model, technique, rest), matrix.resolved.techniques[technique]
    layers = [module for module in base.model.modules() if isinstance(module, bnb.nn.Linear4bit | bnb.nn.Linear8bitLt)]
    packed = {weight for layer in layers for weight in layer.parameters()}  # with the biases that are added to it
    assert layers and {weight.dtype for weight in base.model.parameters() if weight not in packed} == {dtype}
    tokens = base.tokenizer("sort xs\nxs.sort()", return_tensors="pt")["input_ids"]
    inputs: dict[str, Any] = {"input_ids": tokens}
    if base.architecture == "encoder_decoder":
        inputs["decoder_input_ids"] = tokens
    with adapted(base, spec, spec.paper, seed=1) as adapter, torch.no_grad():
        assert {weight.dtype for weight in adapter.parameters() if weight.requires_grad} == {WHOLE}
        output = adapter.eval()(**inputs, use_cache=True, output_hidden_states=True)
        with torch.autocast("cpu", dtype=HALF):
            trained = adapter.train()(input_ids=tokens, labels=tokens)
    hidden = output.decoder_hidden_states if "decoder_input_ids" in inputs else output.hidden_states
    cache = output.past_key_values
    own = cache.self_attention_cache if "decoder_input_ids" in inputs else cache
    assert {states.dtype for states in hidden} == {dtype}
    assert {layer.keys.dtype for layer in own.layers} == {layer.values.dtype for layer in own.layers} == {dtype}
    assert output.logits.dtype == dtype
    assert trained.loss.dtype == WHOLE, "the loss is computed in full precision"


@pytest.mark.parametrize("rest", ["half", "fp32"])
@pytest.mark.parametrize("technique", ["qlora_4bit", "qlora_8bit"])
def test_the_base_is_the_same_after_a_trial(matrix: Plan, technique: str, rest: QuantizedRest, tmp_path: Path) -> None:
    base, spec = quantised(matrix, "tiny-decoder", technique, rest), matrix.resolved.techniques[technique]
    before, reports = contents(base.model), Said()
    train(
        matrix,
        base,
        trial_data(matrix, base, "snippets"),
        spec,
        spec.paper,
        tmp_path,
        reports.hear,
    )
    assert reports[-1]["end"] == "finished"
    assert reports[-1]["validation_loss"] < reports[0]["validation_loss"]
    after = contents(base.model)
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in after.items())
