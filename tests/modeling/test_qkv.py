"""Checkpoints of CodeGen laid out for any number of cores, against attention written out here."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import gelu, layer_norm, linear

from raypeft.errors import UserError
from raypeft.modeling.layout import native_rows
from raypeft.modeling.loading import load_base
from raypeft.spec.catalogue import ModelEntry
from raypeft.spec.technique import Quantization

Weights = dict[str, torch.Tensor]
TOKENS = torch.tensor([[5, 311, 17, 900, 42, 3, 1200, 77, 8]])


def attention(x: torch.Tensor, weights: Weights, mp_num: int, heads: int, rotary_dim: int) -> torch.Tensor:
    """Causal attention over [length, width], the rows of qkv_proj being (core, q | v | k, row of the core)."""
    length, width = x.shape
    cores = linear(x, weights["attn.qkv_proj.weight"]).view(length, mp_num, 3, width // mp_num)
    query, value, key = (cores[:, :, part].reshape(length, heads, -1).transpose(0, 1) for part in range(3))
    query, key = (rotated(states, rotary_dim) for states in (query, key))
    scores = query @ key.transpose(1, 2) / (width // heads) ** 0.5
    scores = scores.masked_fill(torch.ones(length, length).tril() == 0, float("-inf"))
    mixed = (scores.softmax(-1) @ value).transpose(0, 1).reshape(length, width)
    return linear(mixed, weights["attn.out_proj.weight"])


def rotated(states: torch.Tensor, rotary_dim: int) -> torch.Tensor:
    """Each pair of neighbours among the first `rotary_dim` features, as one complex number, turned by its position."""
    turning, rest = states[..., :rotary_dim], states[..., rotary_dim:]
    angles = torch.outer(torch.arange(states.shape[1]), 10_000 ** -(torch.arange(0, rotary_dim, 2) / rotary_dim))
    pairs = torch.view_as_complex(turning.reshape(*turning.shape[:-1], -1, 2).contiguous())
    turned = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
    return torch.cat((turned, rest), dim=-1)


def logits(weights: Weights, mp_num: int, *, heads: int = 8, layers: int = 2, rotary_dim: int = 4) -> torch.Tensor:
    """The whole model on TOKENS, [length, vocabulary]."""
    x = weights["transformer.wte.weight"][TOKENS[0]]
    for layer in range(layers):
        prefix = f"transformer.h.{layer}."
        block = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
        normed = layer_norm(x, x.shape[-1:], block["ln_1.weight"], block["ln_1.bias"])
        hidden = gelu(linear(normed, block["mlp.fc_in.weight"], block["mlp.fc_in.bias"]), approximate="tanh")
        mlp = linear(hidden, block["mlp.fc_out.weight"], block["mlp.fc_out.bias"])
        x = x + attention(normed, block, mp_num, heads, rotary_dim) + mlp
    x = layer_norm(x, x.shape[-1:], weights["transformer.ln_f.weight"], weights["transformer.ln_f.bias"])
    return linear(x, weights["lm_head.weight"], weights["lm_head.bias"])


def entry(folder: Path, layout: int | None, **more: object) -> ModelEntry:
    return ModelEntry.model_validate({"title": "C", "folder": str(folder), "qkv_layout": layout, **more})


@pytest.mark.parametrize(("layout", "mp_num"), [(8, 8), (4, 4), (None, 4), (2, 2)])
def test_logits_are_those_of_the_layout(codegen_folder: Path, layout: int | None, mp_num: int) -> None:
    base = load_base("codegen", entry(codegen_folder, layout), "fp32")
    found = base.model(TOKENS.to(base.device)).logits[0].cpu()
    weights = load_file(codegen_folder / "model.safetensors")
    torch.testing.assert_close(found, logits(weights, mp_num), atol=1e-4, rtol=1e-4)
    others = [other for other in (1, 2, 4, 8) if other != mp_num]
    assert all((found - logits(weights, other)).abs().max() > 0.1 for other in others), "the layout must matter"


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_rows_are_in_order_before_they_are_quantised(codegen_folder: Path, quantization: Quantization) -> None:
    """Near the true logits, and far from those of unordered rows, as far as eight or four bits go."""
    base = load_base("codegen", entry(codegen_folder, 8), "fp32", quantization=quantization)
    found = base.model(TOKENS.to(base.device)).logits[0].cpu()
    weights = load_file(codegen_folder / "model.safetensors")
    right, wrong = ((found - logits(weights, mp_num)).pow(2).mean().sqrt() for mp_num in (8, 4))
    assert right < wrong / 2
    assert base.model.generation_config.eos_token_id == 1
    assert base.model.name_or_path == base.model.config.name_or_path == str(codegen_folder)


def test_rows_by_hand() -> None:
    """Width 8 laid out for 8 cores: core c holds q[c], v[c], k[c]. Four cores: q, q, v, v, k, k of two old cores."""
    assert native_rows(8, 8).tolist() == [
        *(0, 3, 1, 4, 2, 5),
        *(6, 9, 7, 10, 8, 11),
        *(12, 15, 13, 16, 14, 17),
        *(18, 21, 19, 22, 20, 23),
    ]
    assert native_rows(64, 4).tolist() == list(range(192))


def changed(folder: Path, target: Path, **values: object) -> Path:
    """A copy of a model folder with other values in its configuration."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | values))
    return target


@pytest.mark.parametrize(
    ("values", "layout", "message"),
    [
        ({}, 16, "models.codegen.qkv_layout: 8 heads cannot be shared out among 16 cores"),
        ({"n_head": 2}, None, "models.codegen.qkv_layout: 2 heads cannot be shared out among 4 cores"),
        ({"n_head": 2}, 2, "models.codegen.qkv_layout: 2 heads cannot be shared out among 4 cores"),
        (
            {"auto_map": {"AutoModelForCausalLM": "modeling_codegen.CodeGenForCausalLM"}},
            None,
            "models.codegen: brings its own code, so the order of its attention rows is unknown\n"
            "State models.codegen.qkv_layout: 8 for CodeGen2 1B and 3.7B, 4 for 7B and CodeGen.",
        ),
    ],
)
def test_what_cannot_be_right_is_refused(
    codegen_folder: Path, tmp_path: Path, values: dict[str, object], layout: int | None, message: str
) -> None:
    folder = changed(codegen_folder, tmp_path / "model", **values)
    with pytest.raises(UserError) as caught:
        load_base("codegen", entry(folder, layout), "fp32")
    assert str(caught.value) == message


def test_a_checkpoint_that_brings_code_runs_in_transformers_class_once_its_layout_is_stated(
    codegen_folder: Path, tmp_path: Path
) -> None:
    auto_map = {"AutoConfig": "gone.CodeGenConfig", "AutoModelForCausalLM": "gone.CodeGenForCausalLM"}
    folder = changed(codegen_folder, tmp_path / "model", auto_map=auto_map)
    base = load_base("codegen2", entry(folder, 8), "fp32")
    assert type(base.model).__module__ == "transformers.models.codegen.modeling_codegen"
    expected = logits(load_file(codegen_folder / "model.safetensors"), 8)
    torch.testing.assert_close(base.model(TOKENS.to(base.device)).logits[0].cpu(), expected, atol=1e-4, rtol=1e-4)


def test_only_codegen_has_a_layout() -> None:
    with pytest.raises(UserError, match=r"models\.tiny\.qkv_layout: is for CodeGen models; this one is llama"):
        load_base("tiny", entry(Path("embedded:models/tiny-decoder"), 8), "fp32")


def test_a_layout_does_not_go_with_code_of_the_models_own() -> None:
    with pytest.raises(ValueError, match="qkv_layout"):
        entry(Path("m"), 8, trust_remote_code=True)
