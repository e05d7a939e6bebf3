"""Loading: precision by hardware, quantised weights, attention, remote code, models without an entry."""

import json
import sys
from pathlib import Path

import bitsandbytes as bnb
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from raypeft.errors import UserError
from raypeft.modeling.adapters import adapted
from raypeft.modeling.loading import load_base, study_base
from raypeft.modeling.precision import Hardware, compute_dtype
from raypeft.spec.catalogue import ModelEntry, shipped_catalogue
from raypeft.spec.loading import PACKAGE
from raypeft.spec.plan import Cell, IclJob, Plan
from raypeft.spec.sections import Attention, Precision
from tests.modeling.conftest import Bases

TINY = PACKAGE / "embedded" / "models" / "tiny-decoder"
CPU, OLD_GPU, NEW_GPU = Hardware(False, False), Hardware(True, False), Hardware(True, True)


@pytest.mark.parametrize(
    ("precision", "model_type", "hardware", "dtype"),
    [
        ("auto", "llama", CPU, torch.float32),
        ("auto", "llama", OLD_GPU, torch.float16),
        ("auto", "llama", NEW_GPU, torch.bfloat16),
        ("auto", "t5", CPU, torch.float32),
        ("auto", "t5", OLD_GPU, torch.float32),
        ("auto", "t5", NEW_GPU, torch.bfloat16),
        ("fp16", "codegen", NEW_GPU, torch.float16),
        ("fp16", "t5", NEW_GPU, torch.float32),
        ("fp16", "umt5", OLD_GPU, torch.float32),
        ("bf16", "t5", CPU, torch.bfloat16),
        ("fp32", "llama", NEW_GPU, torch.float32),
    ],
)
def test_precision_is_what_hardware_and_model_bear(
    precision: Precision, model_type: str, hardware: Hardware, dtype: torch.dtype
) -> None:
    assert compute_dtype(precision, model_type, hardware) == dtype


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(UserError, match=r"training\.precision: fp16 needs a GPU"):
        compute_dtype("fp16", "llama", CPU)


@pytest.mark.parametrize(
    ("model", "kept"),
    [("tiny-decoder", {"lm_head"}), ("tiny-encoder-decoder", {"lm_head", "wo"}), ("codegen", {"lm_head"})],
)
def test_four_bit_weights_are_nf4_with_double_quantisation(bases: Bases, model: str, kept: set[str]) -> None:
    """All but the head, and in T5 the layers that transformers keeps in fp32."""
    base = bases(model, "qlora_4bit")
    linear = {name: module for name, module in base.model.named_modules() if isinstance(module, torch.nn.Linear)}
    quantised = {name: module for name, module in linear.items() if isinstance(module, bnb.nn.Linear4bit)}
    states = [module.weight.quant_state for module in quantised.values()]
    assert {(state.quant_type, state.nested) for state in states} == {("nf4", True)}
    assert {name.split(".")[-1] for name in linear.keys() - quantised.keys()} == kept
    others = {weight.dtype for weight in base.model.parameters() if not isinstance(weight, bnb.nn.Params4bit)}
    assert others == {torch.float32}


def test_eight_bit_weights_are_the_rounded_ones(bases: Bases) -> None:
    """Row by row, 127 steps of the largest entry: against the file's own weights."""
    base = bases("tiny-decoder", "qlora_8bit")
    weights = load_file(TINY / "model.safetensors")
    name = "model.layers.1.mlp.down_proj"
    module = base.model.get_submodule(name)
    assert isinstance(module, bnb.nn.Linear8bitLt)
    state = {key: value.cpu() for key, value in module.state_dict().items() if torch.is_tensor(value)}
    restored = state["weight"].float() * state["SCB"][:, None] / 127
    original = weights[f"{name}.weight"].float()
    assert ((restored - original).abs() <= original.abs().amax(1, keepdim=True) / 127 * 0.51).all()


def test_quantised_weights_compute_in_the_precision_asked_for(small_plan: Plan) -> None:
    entry = small_plan.resolved.models["tiny-decoder"]
    base = load_base("tiny-decoder", entry, "bf16", quantization="4bit")
    layers = [module for module in base.model.modules() if isinstance(module, bnb.nn.Linear4bit)]
    assert base.dtype == torch.bfloat16
    assert {layer.compute_dtype for layer in layers} == {torch.bfloat16}


@pytest.mark.parametrize("technique", ["qlora_4bit", "qlora_8bit"])
def test_an_evaluation_in_between_does_not_change_the_gradients(bases: Bases, matrix: Plan, technique: str) -> None:
    base, spec = bases("tiny-decoder", technique), matrix.resolved.techniques[technique]
    tokens = base.tokenizer("sort xs\nxs.sort()", return_tensors="pt")["input_ids"].to(base.device)

    def gradients(model: torch.nn.Module) -> list[torch.Tensor]:
        model.eval()
        model.zero_grad()
        model(input_ids=tokens, labels=tokens).loss.backward()
        return [weight.grad.clone() for weight in model.parameters() if weight.requires_grad]

    with adapted(base, spec, spec.paper, seed=3) as model:
        first = gradients(model)
        with torch.no_grad():
            model(input_ids=tokens)
        second = gradients(model)
    assert sum(float(gradient.abs().sum()) for gradient in first) > 0
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_without_bitsandbytes_the_message_says_how_to_get_it(small_plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UserError, match=r"need the package bitsandbytes: pip install bitsandbytes"):
        load_base("tiny-decoder", small_plan.resolved.models["tiny-decoder"], "fp32", quantization="4bit")


def test_cells_are_quantised_as_their_technique_says_and_icl_is_not(matrix: Plan) -> None:
    quantised = study_base(matrix.resolved, Cell("tiny-decoder", "snippets", "qlora_8bit"))
    assert quantised.model.is_loaded_in_8bit
    plain = study_base(matrix.resolved, IclJob("tiny-decoder", "snippets", 1, 42))
    assert not getattr(plain.model, "is_loaded_in_8bit", False)
    assert study_base(matrix.resolved, Cell("tiny-decoder", "snippets", "lora")) is plain


@pytest.mark.parametrize(("asked", "found"), [("auto", "sdpa"), ("eager", "eager"), ("sdpa", "sdpa")])
def test_attention_is_the_one_asked_for(small_plan: Plan, asked: Attention, found: str) -> None:
    base = load_base("tiny-decoder", small_plan.resolved.models["tiny-decoder"], "fp32", attention=asked)
    assert base.model.config._attn_implementation == found


def test_attention_that_a_model_does_not_have(matrix: Plan) -> None:
    entry = matrix.resolved.models["codegen"]
    assert load_base("codegen", entry, "fp32").model.config._attn_implementation == "eager"
    with pytest.raises(UserError, match=r"(?s)models\.codegen: cannot be loaded from .*scaled_dot_product_attention"):
        load_base("codegen", entry, "fp32", attention="sdpa")


OWN_CODE = """
import pathlib
from transformers import LlamaConfig, LlamaForCausalLM

pathlib.Path(__file__).with_name("ran").touch()
pathlib.Path({marker!r}).touch()

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


def test_a_models_own_code_runs_only_when_the_study_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder, marker = tmp_path / "own", tmp_path / "ran"
    AutoModelForCausalLM.from_pretrained(TINY).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_bytes((TINY / file).read_bytes())
    (folder / "own.py").write_text(OWN_CODE.format(marker=str(marker)))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}}
    (folder / "config.json").write_text(json.dumps(config))
    entry = {"title": "Own", "folder": str(folder)}
    with pytest.raises(UserError) as caught:
        load_base("own", ModelEntry.model_validate(entry), "fp32")
    assert "catalogue.models.own.trust_remote_code: true lets it run" in str(caught.value)
    assert not marker.exists()
    base = load_base("own", ModelEntry.model_validate({**entry, "trust_remote_code": True}), "fp32")
    assert type(base.model).__name__ == "OwnModel" and marker.exists()


@pytest.mark.parametrize(
    ("name", "architecture", "attention", "feedforward"),
    [
        ("tiny-decoder", "decoder", ["q_proj", "v_proj"], ["down_proj"]),
        ("tiny-encoder-decoder", "encoder_decoder", ["q", "v"], ["wo"]),
    ],
)
def test_a_model_without_an_entry_is_known_by_its_configuration(
    name: str, architecture: str, attention: list[str], feedforward: list[str]
) -> None:
    """Lists are peft's defaults for LoRA and IA3."""
    base = load_base("own", ModelEntry(title="Own", folder=f"embedded:models/{name}"), "fp32")
    assert base.architecture == architecture
    assert base.targets == {"attention": attention, "feedforward": feedforward}


def test_an_entry_that_contradicts_the_configuration_is_refused() -> None:
    entry = shipped_catalogue().models["tiny-decoder"].model_copy(update={"architecture": "encoder_decoder"})
    with pytest.raises(UserError, match=r"models\.tiny\.architecture: is declared encoder_decoder"):
        load_base("tiny", entry, "fp32")
