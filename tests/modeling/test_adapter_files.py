"""An adapter that was made for another base, is incomplete, or holds no numbers, is not put on a model."""

import json
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from raypeft.errors import UserError
from raypeft.evaluation.given import with_adapter
from raypeft.modeling.loading import Base, load_base
from raypeft.spec.catalogue import ModelEntry

ADAPTER = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def base_in(folder: Path, hub: str | None = None) -> Base:
    base = load_base("tiny", ModelEntry(title="T", folder=str(folder)), "fp32")
    if hub:
        base.entry, base.source = ModelEntry(title="T", hub=hub), hub
    return base


@pytest.fixture()
def base(tiny: Path) -> Base:
    return base_in(tiny)


@pytest.fixture()
def adapter(tiny: Path, tmp_path: Path) -> Path:
    """A LoRA adapter of four layers, with 16 tensors."""
    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    peft.get_peft_model(base_in(tiny).model, config).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def refusal(base: Base, adapter: Path) -> str:
    with pytest.raises(UserError) as refused, with_adapter(base, str(adapter)):
        pass
    assert str(refused.value).startswith(f"--adapter {adapter}: ")
    return str(refused.value)


def rewrite(adapter: Path, **keys: object) -> None:
    config = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps(config | keys))


def test_an_adapter_of_the_model_is_put_on(base: Base, adapter: Path) -> None:
    with with_adapter(base, str(adapter)) as model:
        name = "base_model.model.model.layers.0.self_attn.q_proj.lora_B"
        on = dict(model.named_parameters())[f"{name}.default.weight"]
        assert on.equal(load_file(adapter / ADAPTER)[f"{name}.weight"])


def test_values_that_are_no_numbers(base: Base, adapter: Path) -> None:
    tensors = load_file(adapter / ADAPTER)
    first, second, *_ = sorted(tensors)
    tensors[first][0, 0], tensors[second][1, 1] = float("nan"), float("inf")
    save_file(tensors, adapter / ADAPTER)
    expected = f"the adapter holds 2 tensors with values that are not finite numbers: {first}, {second}"
    assert expected in refusal(base, adapter)


def test_tensors_that_are_missing_or_have_no_place(base: Base, adapter: Path) -> None:
    tensors = load_file(adapter / ADAPTER)
    save_file({name: tensor for name, tensor in tensors.items() if "layers.1." not in name}, adapter / ADAPTER)
    said = refusal(base, adapter)
    assert "the adapter lacks 4 tensors: base_model.model.model.layers.1.self_attn.q_proj.lora_A" in said


def test_tensors_of_a_layer_that_the_model_does_not_have(base: Base, adapter: Path) -> None:
    tensors = load_file(adapter / ADAPTER)
    more = {name.replace("layers.1.", "layers.7."): tensor.clone() for name, tensor in tensors.items()}
    save_file(tensors | more, adapter / ADAPTER)
    assert f"{base.source} has no place for 4 tensors: base_model.model.model.layers.7.self_attn" in refusal(
        base, adapter
    )


@pytest.mark.parametrize(
    "damage", [b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", b"x" * 3000]
)
def test_damaged_files(base: Base, adapter: Path, damage: bytes) -> None:
    (adapter / ADAPTER).write_bytes(damage)
    assert f"{adapter}/{ADAPTER} is " in refusal(base, adapter)


def test_an_adapter_of_other_weights_in_a_folder_that_is_here(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in tiny.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    with with_adapter(base_in(other), str(adapter)):  # the same weights in another place
        pass
    tensors = load_file(other / "model.safetensors")
    tensors["model.norm.weight"] *= 2
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    assert f"cannot be put on {other}: it was made for {tiny}" in refusal(base_in(other), adapter)


def test_an_adapter_of_another_model_of_the_hub(tiny: Path, adapter: Path) -> None:
    base = base_in(tiny, hub="codellama/CodeLlama-7b-hf")
    rewrite(adapter, base_model_name_or_path="codellama/CodeLlama-7b-Python-hf")
    said = refusal(base, adapter)
    assert "cannot be put on codellama/CodeLlama-7b-hf: it was made for codellama/CodeLlama-7b-Python-hf" in said
    assert said.endswith("correct base_model_name_or_path in its adapter_config.json.")
    for same in ("CodeLlama/codellama-7b-hf", "/home/somebody/codellama", None):
        rewrite(adapter, base_model_name_or_path=same)
        with with_adapter(base_in(tiny, hub="codellama/CodeLlama-7b-hf"), str(adapter)):
            pass


def test_an_adapter_of_another_architecture(base: Base, adapter: Path) -> None:
    rewrite(adapter, task_type="SEQ_2_SEQ_LM")
    assert "it was made for an encoder-decoder" in refusal(base, adapter)


def test_an_adapter_of_a_method_that_cannot_be_used(base: Base, adapter: Path) -> None:
    rewrite(adapter, peft_type="CPT", cpt_token_ids=[1], cpt_mask=[1], cpt_tokens_type_mask=[1], num_virtual_tokens=1)
    assert "is a CPTConfig, which cannot be evaluated: the beam search" in refusal(base, adapter)


def test_a_configuration_that_is_none(base: Base, adapter: Path) -> None:
    (adapter / CONFIG).write_text("[]")
    assert "cannot be put on" in refusal(base, adapter)


def test_tensors_of_another_shape(base: Base, adapter: Path) -> None:
    tensors = load_file(adapter / ADAPTER)
    save_file({name: torch.cat([tensor, tensor]) for name, tensor in tensors.items()}, adapter / ADAPTER)
    assert "cannot be put on" in refusal(base, adapter) and "size mismatch" in refusal(base, adapter)
